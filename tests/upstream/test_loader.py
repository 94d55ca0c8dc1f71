"""What run_config writes for four hosts passes the real parser and the real loader; the guide's own files do not."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import patched
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import copy as parquet_copy
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import observe as run_config
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import script as launch
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import known, registration, row_groups
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.flags import KNOWN, typed

from tests.unit.support import run_texts
from tests.unit.support.dataset_files import row, write
from tests.unit.support.run_settings import settings, topology
from tests.upstream.conftest import Drive, copy_tree, patch_tree

LISTENER = "#!/usr/bin/env python3\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n"
ROWS = 24
HOSTS: dict[str, tuple[dict[str, Any], Topology]] = {
    "one GPU, frozen and offloaded": (
        {"training_profile": "frozen", "run_config_ema": 0.0, "run_config_cpu_offload": True},
        topology(nproc_per_node=1, num_workers=2),
    ),
    "four GPUs": ({}, topology()),
    "the second of two nodes with eight GPUs": (
        {"run_config_enable_wandb": True, "run_config_extra_flags": {"freeze_vit": True, "beta2": 0.99}},
        topology(run="bolt", hosts=("b0", "b1"), node_rank=1, nproc_per_node=8, num_workers=1, master_addr="10.0.0.5"),
    ),
    "own paths, in Chinese and with spaces": (
        {"dataset_name": "方块 训练", "run_config_wandb_name": "it's $HOME", "run_config_lr": 2e-5},
        topology(nproc_per_node=2, num_workers=3),
    ),
}


class Host:
    """A host as the roles leave it: code, training copy, info file, and all that run_config writes."""

    def __init__(self, root: Path, tree: Path, changes: dict[str, Any], place: Topology) -> None:
        self.told = settings(root, **changes)
        self.place = place
        self.code = copy_tree(tree, Path(self.told["canvas_code_dir"]))
        patch_tree(self.code, str(self.told["training_profile"]))
        folder = Path(self.told["dataset_train_dir"])
        folder.mkdir(parents=True)
        source = write(root / "as it came.parquet", [row(number) for number in range(ROWS)])
        sizes = row_groups.row_groups(ROWS, place.world_size, place.num_workers)
        parquet_copy.write_copy(str(source), folder / "train_split.parquet", sizes, (), lambda _: None)
        self.info({str(folder / "train_split.parquet"): {"num_row_groups": len(sizes), "num_rows": ROWS}})

    def info(self, content: dict[str, Any]) -> None:
        Path(self.told["dataset_info_path"]).write_text(json.dumps(content))

    def configure(self) -> None:
        run_texts.converge(self.told, self.place, "")

    def argv(self, bin_dir: Path) -> list[str]:
        """The trainer's arguments, from the script as bash runs it."""
        (bin_dir / "torchrun").write_text(LISTENER)
        (bin_dir / "torchrun").chmod(0o755)
        path = f"{bin_dir}:{os.environ['PATH']}"
        told = self.told["run_config_script"]
        done = subprocess.run(["bash", told], check=True, capture_output=True, text=True, env={"PATH": path})
        words: list[str] = json.loads(done.stdout)
        return words[words.index("train.pretrain_unified_navit") + 1 :]

    def load(self, drive: Drive, values: dict[str, Any] | None = None, **other: Any) -> dict[str, Any]:
        flags = values or {"dataset_config_file": self.told["run_config_yaml"], **BUDGET}
        names = ("dataset_config_file", *BUDGET)
        where = {"rank": self.place.world_size - 1, "world_size": self.place.world_size}
        told = {**{name: flags[name] for name in names}, **where, "num_workers": self.place.num_workers, **other}
        return drive("load", self.code, **told)


BUDGET = {
    name: settings().get(f"run_config_{name}")
    for name in (
        "expected_num_tokens",
        "max_num_tokens_per_sample",
        "max_num_tokens",
        "prefer_buffer_before",
        "use_flex",
    )
}


@pytest.fixture(params=HOSTS, ids=list(HOSTS))
def host(request: pytest.FixtureRequest, tmp_path: Path, upstream: Path) -> Host:
    changes, place = HOSTS[request.param]
    return Host(tmp_path / ("方块 移动" if "Chinese" in request.param else "srv"), upstream, changes, place)


def test_the_rendered_files_pass_the_parser_and_the_loader(host: Host, drive: Drive, tmp_path: Path) -> None:
    host.configure()
    read = drive("parse", host.code, argv=host.argv(tmp_path))
    assert "ok" in read, read
    values = read["ok"]["values"]
    for name, text in launch.flags(host.told, host.place).items():
        assert type(values[name])(text if text != "False" else "") == values[name], name
    assert values["model_path"] == host.told["weights_dir"]
    loaded = host.load(drive, values)
    assert "ok" in loaded, loaded
    assert loaded["ok"]["class"] == "InterleaveReasoningIterableDataset"
    assert loaded["ok"]["groups"] == max(1, host.place.num_workers)
    assert values["expected_num_tokens"] <= sum(loaded["ok"]["lengths"]) == values["max_num_tokens"]


def test_the_parser_knows_the_flags_that_we_know_and_no_others(drive: Drive) -> None:
    read = drive("parse", argv=[])
    assert read["ok"]["known"] == KNOWN


def test_a_flag_takes_the_values_that_the_parser_takes(drive: Drive) -> None:
    """Asked of the parser's own actions: what a field is declared as and what its default is may differ."""
    texts = ("1", "0.5", "1e-5", "true", "word")
    taken = drive("parse", argv=[], texts=texts)["ok"]["taken"]
    ours: dict[str, list[str]] = {flag: [] for flag in KNOWN}
    for flag, text in ((flag, text) for flag in KNOWN for text in texts):
        with contextlib.suppress(FleetError):
            typed(flag, text)
            ours[flag].append(text)
    assert ours == {flag: taken[flag] for flag in KNOWN}
    assert ours["max_grad_norm"] == ["1"], "declared an int, with the default 1.0"


def test_the_tree_is_known(upstream: Path) -> None:
    told = {"canvas_code_checkout": str(upstream), "canvas_code_dir": str(upstream), "run_config_yaml": "/none"}
    assert known.compare(patched.observe(told).digests).known


GUIDE_YAML = (
    "data_weights:\n  interleave_reasoning: 1.0\ndata_names:\n  interleave_reasoning:\n    - blockmoving_train\n"
)
USERS_YAML = "blockmoving_cot:\n  dataset_names:\n  - blockmoving_train\n  num_used_data:\n  - 8\n  weight: 1.0\n"


@pytest.fixture
def plain(tmp_path: Path, upstream: Path) -> Host:
    return Host(tmp_path / "srv", upstream, {}, topology(nproc_per_node=1, num_workers=2))


def codes(host: Host) -> list[str]:
    plan = run_texts.decide(run_config.observe(host.told), host.told, host.place)
    return [found.code for found in plan.findings]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        pytest.param(GUIDE_YAML, "AssertionError", "", id="the guide's"),
        pytest.param(USERS_YAML, "KeyError", "'blockmoving_cot'", id="the user's repository's"),
    ],
)
def test_a_yaml_of_another_dialect_fails_as_told(plain: Host, drive: Drive, text: str, error: str, words: str) -> None:
    Path(plain.told["run_config_yaml"]).write_text(text)
    failed = plain.load(drive)
    assert (failed.get("error"), failed.get("message")) == (error, words)
    assert "YAML_DIALECT" in codes(plain)


def register(host: Host, text: str) -> None:
    path = host.code / "data/dataset_info.py"
    place = "'interleave_reasoning':{\n"
    assert path.read_text().count(place) == 1
    path.write_text(path.read_text().replace(place, place + text))


def test_the_guides_registration_fails_as_told(plain: Host, drive: Drive) -> None:
    plain.configure()
    path = plain.code / "data/dataset_info.py"
    path.write_bytes(registration.unregister(path.read_bytes()))
    folder = plain.told["dataset_train_dir"]
    register(
        plain,
        f"'blockmoving_train': {{'path': {folder!r}, 'parquet': 'train_split.parquet',"
        " 'parquet_info': 'train_split_info.json'},\n",
    )
    failed = plain.load(drive)
    assert (failed.get("error"), failed.get("message")) == ("KeyError", "'data_dir'")
    assert "REGISTRATION_DIALECT" in codes(plain)


def test_a_registry_of_the_users_repository_fails_as_told(plain: Host, drive: Drive) -> None:
    text = "from .own import Own\nDATASET_REGISTRY = {'blockmoving_cot': Own}\nDATASET_INFO = {'blockmoving_cot': {}}\n"
    (plain.code / "data/dataset_info.py").write_text(text)
    plain.configure()
    failed = plain.load(drive)
    assert (failed.get("error"), failed.get("message")) == ("ModuleNotFoundError", "No module named 'data.own'")
    (plain.code / "data/own.py").write_text("Own = object\n")
    failed = plain.load(drive)
    assert (failed.get("error"), failed.get("message")) == ("KeyError", "'interleave_reasoning'")
    assert "GROUP_UNKNOWN" in codes(plain)


def test_info_paths_of_another_machine_match_nothing(plain: Host, drive: Drive) -> None:
    plain.configure()
    plain.info({"E:/project/train_split.parquet": {"num_row_groups": 2, "num_rows": ROWS}})
    failed = plain.load(drive)
    assert (failed.get("error"), failed.get("message")) == ("IndexError", "list index out of range")


def test_null_indexes_drop_every_row(plain: Host, drive: Drive) -> None:
    plain.configure()
    path = Path(plain.told["dataset_train_dir"]) / "train_split.parquet"
    rows = [
        row(number, question_interleave=[{"type": "text", "content": "?"}, {"type": "image", "index": 0}])
        for number in range(4)
    ]
    write(path, rows)
    plain.info({str(path): {"num_row_groups": 1, "num_rows": 4}})
    with pytest.raises(subprocess.TimeoutExpired) as endless:
        plain.load(drive, timeout=15)
    assert b"Failed to load image with index 0.0" in (endless.value.stderr or b"")


def test_without_weights_it_starts_from_scratch_and_says_so_in_one_line(drive: Drive, tmp_path: Path) -> None:
    for source in (None, str(tmp_path / "nothing")):
        assert drive("load_weights", resume_from=source)["ok"] == ["Training from scratch."]


def test_another_name_in_the_checkpoint_folder_kills_the_start(drive: Drive, tmp_path: Path) -> None:
    for name in ("0000510", "0001020"):
        (tmp_path / name).mkdir()
    assert drive("latest", folder=str(tmp_path))["ok"] == f"{tmp_path}/0001020"
    (tmp_path / "old").mkdir()
    failed = drive("latest", folder=str(tmp_path))
    assert (failed["error"], "invalid literal for int()" in failed["message"]) == ("ValueError", True)
