"""The attacks that need root to come along, each with the trap that it lays."""

from __future__ import annotations

import json
import os
import pickle
import time
from contextlib import suppress
from pathlib import Path

from host import (
    CHECKPOINTS,
    CODE,
    CONDA,
    KEPT,
    MODEL,
    OWN,
    RAN,
    RESULTS,
    ROOT,
    SCRIPT,
    SCRIPTS,
    STATE,
    TRAIN,
    Evil,
    attack,
    control,
    go_on,
    link,
    newest,
    oldest,
    program,
    race,
    swap,
    target,
    text,
    torch_file,
)

# Root looks.


@attack("look")
def log_is_a_secret(name: str) -> None:
    link(RESULTS / "log.txt", target(name))


@attack("look")
def errors_are_a_secret(name: str) -> None:
    link(OWN / "errors.log", target(name))


@attack("look")
def yaml_is_a_secret(name: str) -> None:
    link(CODE / "data/configs/blockmoving_sft.yaml", target(name))


@attack("look")
def model_config_is_a_secret(name: str) -> None:
    link(MODEL / "llm_config.json", target(name))


@attack("look")
def info_is_a_pipe(name: str) -> None:
    swap(TRAIN / "train_split_info.json", os.mkfifo)


@attack("look")
def seal_is_a_pipe(name: str) -> None:
    swap(newest().with_suffix(".json"), os.mkfifo)


@attack("look")
def checkpoint_is_endless(name: str) -> None:
    for file in ("model.safetensors", "scheduler.pt", "optimizer.00000-of-00002.pt"):
        link(CHECKPOINTS / "0900000" / file, Path("/dev/zero"))


@attack("look")
def checkpoint_is_a_pipe(name: str) -> None:
    for file in ("model.safetensors", "scheduler.pt", "data_status.pt"):
        swap(CHECKPOINTS / "0900001" / file, os.mkfifo)


@attack("look")
def pickle_runs_a_program(name: str) -> None:
    for folder in (CHECKPOINTS / "0900002", KEPT / "0900002"):
        for file in ("data_status.pt", "scheduler.pt"):
            swap(folder / file, lambda path: torch_file(path, pickle.dumps(Evil(name))))


@attack("look")
def pickle_unpacks_to_gigabytes(name: str) -> None:
    swap(CHECKPOINTS / "0900003/data_status.pt", lambda path: torch_file(path, bytes(1 << 20), copies=400))


@attack("look")
def header_is_of_gigabytes(name: str) -> None:
    def sparse(path: Path) -> None:
        path.write_bytes((1 << 34).to_bytes(8, "little") + b"{")
        os.truncate(path, 1 << 35)

    swap(CHECKPOINTS / "0900004/model.safetensors", sparse)


@attack("look")
def record_is_of_gigabytes(name: str) -> None:
    for path in (KEPT / "0900000.json", MODEL / "vit_config.json", STATE / "conda_env/conda.json"):
        with suppress(PermissionError):
            text(path, "{")
            os.truncate(path, 1 << 34)


@attack("look")
def record_is_deep(name: str) -> None:
    text(KEPT / "0900001.json", '{"files":' * 200_000)
    text(CODE.parent / ".canvas-fleet.json", "[" * 200_000)


@attack("look")
def names_hold_control_characters(name: str) -> None:
    for folder in (CHECKPOINTS, KEPT, MODEL, CODE, RESULTS):
        (folder / control(name)).mkdir(parents=True, exist_ok=True)


@attack("look")
def state_holds_control_characters(name: str) -> None:
    known = json.loads((OWN / "state.json").read_text())
    told = {"status": control(name), "stage": 10**400, "weights": control(name), "total_steps": -(10**400)}
    text(OWN / "state.json", json.dumps({**known, **told}))
    text(OWN / "failure.json", json.dumps({**known, "kind": control(name), "found": control(name)}))


@attack("look")
def git_runs_a_program(name: str) -> None:
    git = CODE.parent / ".git"
    program(git / "evil", name)
    config = (git / "config").read_text() if (git / "config").exists() else ""
    text(git / "config", f"{config}[core]\n\tfsmonitor = {git}/evil\n\thooksPath = {git}\n\tpager = {git}/evil\n")
    program(git / "post-checkout", name)


@attack("look")
def environment_runs_a_program(name: str) -> None:
    program(ROOT / "miniforge3/envs/bagel-canvas/bin/python", name)
    program(CONDA / "bin/conda", name)


@attack("look")
def python_starts_with_a_program(name: str) -> None:
    start = f"import os\nos.system('echo ran >{RAN}/{name}.$(id -u)')\n"
    for folder in (ROOT / "home/.local/lib/python3.11/site-packages", SCRIPTS, RESULTS, CODE):
        text(folder / "sitecustomize.py", start)
        text(folder / "json.py", start)


@attack("look")
def registration_is_a_second_name(name: str) -> None:
    """A hard link, where the kernel allows it, else a link."""
    try:
        swap(CODE / "data/dataset_info.py", lambda path: os.link(target(name), path))
    except OSError:
        (CODE / "data/dataset_info.py").symlink_to(target(name))


@attack("look")
def seal_names_files_of_root(name: str) -> None:
    entry = {"size": 1, "mtime": 1, "mark": "", "sha256": ""}
    names = [str(target(name)), f"../../../../../..{target(name)}", "model.safetensors"]
    seal = {"step": int(oldest().name), "shards": 2, "size": 3, "links": True, "files": dict.fromkeys(names, entry)}
    text(oldest().with_suffix(".json"), json.dumps(seal))


# Root writes.


@attack("write")
def script_is_a_link(name: str) -> None:
    link(SCRIPT, target(name))


@attack("write")
def yaml_is_a_link_to_nothing(name: str) -> None:
    link(CODE / "data/configs/blockmoving_sft.yaml", target(name).with_name("new"))


@attack("write")
def data_folder_is_a_link(name: str) -> None:
    link(TRAIN, target(name).parent)


@attack("write")
def kept_folder_is_a_link(name: str) -> None:
    link(KEPT, target(name).parent)


# Root starts the training.


@attack("start")
def key_is_a_secret(name: str) -> None:
    """systemd hands a credential to the account: it must not be what the account chose."""
    link(RESULTS / "secrets/wandb_api_key", target(name))


@attack("start")
def tries_are_a_link(name: str) -> None:
    link(OWN / "tries.json", target(name))


@attack("start")
def log_holds_control_characters(name: str) -> None:
    line = f"\x1b]0;{name}\x07(step=0000010) Train Loss ce: 1e999, Train Loss mse: nan, Train Steps/Sec: 1e-999, \n"
    text(RESULTS / "log.txt", f"{control(name)}\n{line * 1000}")


# Root fetches, and lets the account work.


@attack("fetch")
def model_file_is_a_link(name: str) -> None:
    link(MODEL / "config.json", target(name))


@attack("fetch")
def parts_are_a_link(name: str) -> None:
    link(MODEL / ".canvas-fleet-parts", target(name).parent)


@attack("fetch")
def work_record_adds_a_host(name: str) -> None:
    """Whatever root keeps of the work is written over, as far as the account may."""
    poison = {
        "add_host": {
            "host_name": name,
            "groups": ["trainers"],
            "host_vars": {"ansible_ssh_common_args": f"-o ProxyCommand='touch {os.environ.get('PWNED')}'"},
        },
        "ansible_facts": {"ansible_ssh_common_args": f"-o ProxyCommand='touch {os.environ.get('PWNED')}'"},
    }

    def written() -> None:
        for folder in (STATE / "work").glob("*"):
            for own in (folder, folder / "own"):  # root's, and the account's
                with suppress(OSError, ValueError):
                    job = json.loads((folder / "spec.json").read_text())
                    result = {**job, "ok": True, "result": {"changed": True, **poison}, **poison}
                    (own / "result.json.evil").write_text(json.dumps(result))
                    (own / "result.json.evil").rename(own / "result.json")
                    (own / "progress.json").write_text(json.dumps({"noun": control(name), "done": 10**30}))
                    (own / "log").write_text(control(name))
        time.sleep(0.01)

    go_on(written)


# Folders change under root's hands.


@attack("race")
def scripts_change_places(name: str) -> None:
    race(name, SCRIPTS, target(name).parent)


@attack("race")
def results_change_places(name: str) -> None:
    race(name, RESULTS, target(name).parent)


@attack("race")
def configs_change_places(name: str) -> None:
    race(name, CODE / "data", target(name).parent)


@attack("race")
def model_changes_places(name: str) -> None:
    race(name, MODEL, target(name).parent)


# An older checkpoint is put back.


@attack("restore")
def kept_step_is_a_link(name: str) -> None:
    link(newest(), target(name).parent)


@attack("restore")
def quarantine_is_a_link(name: str) -> None:
    link(KEPT / "aside", target(name).parent)


# All is taken away.


@attack("teardown")
def code_record_names_files_of_root(name: str) -> None:
    paths = [str(target(name)), f"../../../../..{target(name)}"]
    files = {path: ["0" * 64, 1, 1] for path in paths}
    record = {"digest": "0" * 64, "files": files, "pending": {path: [] for path in paths}, "commit": "0" * 40}
    text(CODE.parent / ".canvas-fleet.json", json.dumps(record))


@attack("teardown")
def records_name_folders_of_root(name: str) -> None:
    """Those of the state folder, which some versions gave to the account."""
    place = str(target(name).parent)
    files = {path: {"origin": "fetched", "size": 1, "mtime_ns": 1, "inode": 1} for path in (place, f"../../..{place}")}
    for path in [*(STATE / "weights").glob("*.json"), *(STATE / "dataset").glob("*.json")]:
        with suppress(PermissionError):
            text(path, json.dumps({"files": files, "folder": place, "path": place}))
    with suppress(PermissionError):
        text(STATE / "conda_env/conda.json", json.dumps({"root": place}))
        text(STATE / "conda_env/claims/0000000000000000", place)


@attack("teardown")
def environment_is_a_link(name: str) -> None:
    link(CONDA / "envs/bagel-canvas", target(name).parent)


@attack("teardown")
def conda_changes_places(name: str) -> None:
    race(name, CONDA / "conda-meta", target(name).parent)


@attack("teardown")
def data_changes_places(name: str) -> None:
    race(name, ROOT / "BlockMovingSFT/data", target(name).parent)


@attack("teardown")
def checkpoint_changes_places(name: str) -> None:
    text(CHECKPOINTS / "0900000/model.safetensors", "x")
    race(name, CHECKPOINTS / "0900000", target(name).parent)
