"""Fleets that are wrong in what is observed, in how the hosts of a run agree, or in the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.fuzz.fleet import GB, Host, Seen, gpus
from tests.unit.support import dataset_files as files
from tests.unit.support.places import ROOT


@dataclass(frozen=True)
class Trap:
    """A fleet with one fault, and the code that must be reported at the host `at`."""

    name: str
    hosts: tuple[Host, ...]
    code: str
    at: str


def alone(name: str, code: str, variables: Mapping[str, Any], spoil: Callable[[Seen], None] | None = None) -> Trap:
    return Trap(name, (Host("a", variables, spoil),), code, "a")


def fact(**changes: Any) -> Callable[[Seen], None]:
    return lambda seen: seen["facts"].update(changes)


def role(name: str, **changes: Any) -> Callable[[Seen], None]:
    return lambda seen: seen["roles"][name].update(changes)


def only(number: int, **changes: Any) -> Callable[[Seen], None]:
    """So many GPUs, each with these changes."""

    def spoil(seen: Seen) -> None:
        seen["roles"]["nvidia"]["gpus"] = [{**gpu, **changes} for gpu in seen["roles"]["nvidia"]["gpus"][:number]]

    return spoil


def of(fixture: str) -> Callable[[Seen], None]:
    return role("nvidia", **gpus(fixture))


def small_disk(free: int) -> Callable[[Seen], None]:
    def spoil(seen: Seen) -> None:
        for disk in seen["facts"]["disks"].values():
            disk["free"] = free

    return spoil


def checkpoint(**changes: Any) -> Callable[[Seen], None]:
    """One checkpoint in the run's folder."""
    found = {"step": 510, "path": "/c/0000510", "kind": "whole", "flaws": [], "shards": 8, "size": 1, **changes}
    return role("training", survey={"checkpoints": [{**found, "whole": found["kind"] == "whole"}], "foreign": []})


def registered(**changes: Any) -> Callable[[Seen], None]:
    found = {"path": "/c/data/dataset_info.py", "state": "absent", "line": 7, "entry": None, "blocks": False}
    return role("run_config", registration={**found, "groups": ["interleave_reasoning"], **changes})


def machines(base: Mapping[str, Any]) -> Iterator[Trap]:
    for init in ("bash", "tini", "init", "sh", "runit"):
        yield alone(f"PID 1 is {init}", "NO_SYSTEMD", base, fact(init={"name": init, "version": ""}))
    for memory in (4, 8, 16, 24, 32):
        yield alone(f"8 ranks in {memory} GB of RAM", "HOST_MEMORY_SHORT", base, fact(memory_bytes=memory * GB))
    as_upstream = {**base, "canvas_code_lean": False}
    for memory in (64, 128, 256, 512, 1000):
        spoil = fact(memory_bytes=memory * GB)
        yield alone(f"8 ranks as upstream starts in {memory} GB", "HOST_MEMORY_SHORT", as_upstream, spoil)
    for free in (1, 20, 100, 200, 300):
        yield alone(f"{free} GB of free disk", "DISK_SHORT", base, small_disk(free * GB))
    for number, memory in [(1, 24), (2, 24), (4, 24), (2, 40), (4, 40), (2, 80), (4, 80), (8, 24), (8, 32), (8, 40)]:
        spoil = only(number, memory_bytes=memory * GB)
        yield alone(f"full fine-tuning on {number} × {memory} GB", "GPU_MEMORY_SHORT", base, spoil)
    for number in (1, 2, 4, 7):
        wanted = {**base, "run_config_processes": 8}
        yield alone(f"8 processes on {number} GPUs", "GPU_COUNT_SHORT", wanted, only(number))
    yield alone("MIG is on", "GPU_MIG_ON", base, only(8, mig=True))
    yield alone("MIG is on, as recorded", "GPU_MIG_ON", base, of("4xa100-80gb-mig-ecc.xml"))
    for text in ("gpu-lost", "no-permission"):
        spoil = role("nvidia", **{**gpus(f"{text}.txt"), "devices": [0x2330]})
        yield alone(f"nvidia-smi says {text}", "NVIDIA_DRIVER_BROKEN", base, spoil)
    spoil = role("nvidia", **{**gpus("driver-not-loaded.txt"), "devices": []})
    yield alone("no GPU at all", "NO_GPU", base, spoil)
    spoil = role("nvidia", **{**gpus("library-mismatch.txt"), "devices": [0x2330], "module_installed": True})
    yield alone("a driver that wants a restart", "NVIDIA_REBOOT_NEEDED", base, spoil)
    yield alone("neither apt nor dnf", "PACKAGE_MANAGER_UNKNOWN", base, role("fleet_agent", manager=""))
    for kind, code in (("other", "PATH_IS_A_FILE"), ("folder", "FOLDER_NOT_OURS")):
        root = {"kind": kind, "owner": "root", "writable": False}
        yield alone(f"fleet_root is {kind}, and root's", code, base, role("fleet_agent", root=root))


def around(**changes: Any) -> Callable[[Seen], None]:
    return lambda seen: seen["environment"].update(changes)


def surroundings(base: Mapping[str, Any]) -> Iterator[Trap]:
    for megabytes in (0, 64, 512, 1024):
        shm = {"free": megabytes * 10**6, "total": megabytes * 10**6}
        yield alone(f"{megabytes} MB of /dev/shm", "SHM_SMALL", base, around(shm=shm))
    for port in (29501, 30000):
        told = {**base, "run_config_master_port": port}
        yield alone(f"port {port} is taken", "PORT_TAKEN", told, around(listening=[22, port]))
    without = {**base, "fleet_agent_compiler": False}
    yield alone("no compiler", "COMPILER_MISSING", without, around(compiler=""))
    yield alone("no headers", "COMPILER_MISSING", base, around(headers=False))
    for name in ("training_results_dir", "conda_env_root", "weights_dir", "dataset_train_dir", "fleet_state_dir"):
        mounts = {name: {"noexec": False, "read_only": True}}
        yield alone(f"{name} is read-only", "MOUNT_READ_ONLY", base, around(mounts=mounts))
    for name in ("training_results_dir", "conda_env_root"):
        mounts = {name: {"noexec": True, "read_only": False}}
        yield alone(f"{name} is noexec", "MOUNT_NOEXEC", base, around(mounts=mounts))
    for hours in (-48, 48, 24 * 365):
        yield alone(f"a clock {hours} h ahead", "CLOCK_SKEW", base, lambda seen, hours=hours: later(seen, hours))
    run = {**base, "training_run": "pair"}
    for why in ("no answer within 1 s", "No route to host", "the name cannot be resolved"):
        hosts = (Host("n0", run), Host("n1", run, around(master=why)))
        yield Trap(f"the first host: {why}", hosts, "PEER_UNREACHABLE", "n1")


def later(seen: Seen, hours: int) -> None:
    seen["facts"]["time"] += hours * 3600


def folders(base: Mapping[str, Any]) -> Iterator[Trap]:
    yield alone("a file instead of the model folder", "PATH_IS_A_FILE", base, role("weights", kind="other"))
    yield alone("a file instead of the code", "PATH_IS_A_FILE", base, role("canvas_code", state="file"))
    yield alone("other files in the code's place", "CODE_FOLDER_FOREIGN", base, role("canvas_code", state="foreign"))
    for name in ("test_split.parquet", "old.parquet"):
        yield alone(f"{name} in the training folder", "DATASET_FOLDER_FOREIGN", base, role("dataset", others=[name]))
    blocked = role("dataset", blocked=["dataset_train_dir", "/srv/x"])
    yield alone("a file in the way of the data", "PATH_IS_A_FILE", base, blocked)
    for kind in ("model", "incomplete"):
        for step in (100_000, 200_000):
            lost = checkpoint(step=step, kind=kind, flaws=["no optimizer file"])
            yield alone(f"nothing but a {kind} checkpoint of step {step}", "CHECKPOINTS_NONE_WHOLE", base, lost)
    for number in (1, 2, 4):
        yield alone(f"optimizer of {number} shards", "CHECKPOINT_SHARDS_DIFFER", base, checkpoint(shards=number))
    guide = {"path": "/x", "parquet": "train_split.parquet"}
    yield alone("registered as in the guide", "REGISTRATION_DIALECT", base, registered(state="dialect", entry=guide))
    hand = {"data_dir": "/home/ubuntu", "num_files": 1, "parquet_info_path": "/x", "num_total_samples": 3}
    yield alone("registered by hand", "REGISTRATION_BY_HAND", base, registered(state="hand", entry=hand))
    yield alone("a registry without the group", "GROUP_UNKNOWN", base, registered(groups=["edit"]))
    broken = registered(state="broken", error="line 3: unexpected indent")
    yield alone("a registry that is no Python", "REGISTRATION_BROKEN", base, broken)


def lost_hosts(base: Mapping[str, Any]) -> Iterator[Trap]:
    answers: dict[str, list[dict[str, Any]]] = {
        "HOST_UNREACHABLE": [{"unreachable": True, "msg": "ssh: connect to host b port 22: No route to host"}],
        "HOST_MISSING": [{}],
    }
    for recorded in yaml.safe_load((ROOT / "tests/fixtures/ansible/unreached.yml").read_text()).values():
        answers.setdefault(recorded["code"], []).append(recorded)
    for code, said in answers.items():
        for answer in said:
            for number in (2, 3, 5):
                names = [f"n{place}" for place in range(number)]
                for gone in names:
                    told = {**base, "training_run": "pair"}
                    hosts = tuple(Host(name, told, gone=answer if name == gone else None) for name in names)
                    yield Trap(f"{gone} of {number}: {code}", hosts, code, gone)


# Set for one host of a run and not for the other.
AT_ODDS: dict[str, Any] = {
    "run_config_total_steps": 3060,
    "run_config_save_every": 765,
    "run_config_lr": 2e-5,
    "run_config_min_lr": 0,
    "run_config_ema": 0.99,
    "run_config_num_workers": 2,
    "run_config_master_port": 29600,
    "run_config_use_flex": False,
    "run_config_cpu_offload": True,
    "run_config_lr_scheduler": "constant",
    "run_config_warmup_steps": 50,
    "run_config_max_num_tokens": 40960,
    "run_config_expected_num_tokens": 10240,
    "run_config_max_num_tokens_per_sample": 20480,
    "run_config_log_every": 5,
    "run_config_auto_resume": False,
    "run_config_del_previous_state": False,
    "run_config_mse_weight": 2.0,
    "run_config_ce_weight": 1.0,
    "run_config_timestep_shift": 1.0,
    "run_config_extra_flags": {"freeze_vit": True},
    "run_config_wandb_name": "other",
    "run_config_enable_wandb": True,
    "run_config_processes": 4,
    "weights_repo": "me/BAGEL",
    "weights_revision": "b" * 40,
    "canvas_code_commit": "c" * 40,
}


def disagreeing(base: Mapping[str, Any]) -> Iterator[Trap]:
    run = {**base, "training_run": "pair"}
    for number in (2, 3):
        for odd in range(1, number):
            for variable, value in AT_ODDS.items():
                told = [
                    Host(f"n{place}", {**run, **({variable: value} if place == odd else {})}) for place in range(number)
                ]
                yield Trap(f"{variable} differs on n{odd} of {number}", tuple(told), "RUN_DISAGREES", f"n{odd}")
    seven = Host("n1", run, only(7))
    yield Trap("a GPU fewer on the second host", (Host("n0", run), seven), "RUN_DISAGREES", "n1")
    same = {**run, "fleet_address": "10.0.0.7"}
    yield Trap("one address for two hosts", (Host("n0", same), Host("n1", same)), "ADDRESS_TWICE", "n1")


def bad_rows() -> dict[str, tuple[str, dict[str, Any]]]:
    """What training drops, or dies of, by reason."""
    cut = files.picture(5, (200, 200))[:150]
    return {
        "no answer": ("DATASET_ROWS_BAD", {"answer": ""}),
        "no question": ("DATASET_ROWS_BAD", {"question_interleave": []}),
        "no solution": ("DATASET_ROWS_BAD", {"solution_interleave": []}),
        "an image out of range": (
            "DATASET_ROWS_BAD",
            {"solution_interleave": [files.text("x"), files.image(7)]},
        ),
        "an image that cannot be decoded": ("DATASET_ROWS_BAD", {"question_images": [{"bytes": b"no picture"}]}),
        "an image without bytes": ("DATASET_ROWS_BAD", {"question_images": [{"bytes": b""}]}),
        "an item of another kind": ("DATASET_ROWS_BAD", {"question_interleave": [{"type": "video", "content": "x"}]}),
        "a solution without an image": ("SOLUTION_WITHOUT_IMAGE", {"solution_interleave": [files.text("A")]}),
        "an image that is cut short": ("IMAGE_CUT_SHORT", {"question_images": [{"bytes": cut}]}),
    }


def data(folder: Path, base: Mapping[str, Any]) -> Iterator[Trap]:
    good = [files.row(number) for number in range(64)]
    for name, (code, change) in bad_rows().items():
        path = files.write(folder / name.replace(" ", "-") / "train.parquet", [*good, files.row(99, **change)])
        yield alone(f"a row with {name}", code, {**base, "dataset_train": str(path)})
    few = files.write(folder / "few/train.parquet", good[:31])
    yield alone("fewer rows than workers", "ROWS_TOO_FEW", {**base, "dataset_train": str(few)})
    yield alone("its own row groups", "ROW_GROUPS_STARVE", {**base, "dataset_reshard": False})
    for most in (4096, 8192):
        yield alone(f"batches of {most} tokens", "BATCH_OVERFLOWS", {**base, "run_config_max_num_tokens": most})
    for column in ("answer", "question_interleave", "solution_interleave", "question_images", "solution_images"):
        rows = [{name: value for name, value in row.items() if name != column} for row in good]
        path = files.write(folder / f"without-{column}/train.parquet", rows)
        yield alone(f"no column {column}", "DATASET_COLUMN_MISSING", {**base, "dataset_train": str(path)})
    for name, content in {"empty": b"", "text": b"PAR1 not really", "html": b"<html>404</html>"}.items():
        (folder / f"{name}.parquet").write_bytes(content)
        yield alone(
            f"{name} as parquet", "DATASET_UNREADABLE", {**base, "dataset_train": str(folder / f"{name}.parquet")}
        )
    for limit in (2000, 4096, 8192):
        told = {**base, "run_config_max_num_tokens_per_sample": limit}
        yield alone(f"samples longer than {limit} tokens", "SAMPLES_TOO_LONG", told)


def traps(folder: Path, base: Mapping[str, Any]) -> Iterator[Trap]:
    yield from machines(base)
    yield from surroundings(base)
    yield from folders(base)
    yield from lost_hosts(base)
    yield from disagreeing(base)
    yield from data(folder, base)
