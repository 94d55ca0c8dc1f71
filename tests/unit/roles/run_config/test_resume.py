"""What a start would go on from: seen on a real folder, judged against the settings, each with its near miss."""

from __future__ import annotations

import json
import os
import pickle
import struct
import time
import tracemalloc
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import observe as run_config
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import resume as resume_state
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import script as launch
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import data_status
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from tests.unit.roles.run_config.test_observe import seen
from tests.unit.support import run_texts, saves
from tests.unit.support.run_settings import lay_out, settings, topology

GROUP = "interleave_reasoning"
FOUR = [[0, 1, 2, 3]] * 4
TENSORS: dict[str, tuple[int, ...]] = {"a.weight": (2, 3), "latent_pos_embed.pos_embed": (4, 2)}


def save_status(path: Path, ranks: Any) -> None:
    """As torch.save writes it: a zip archive with one pickle of protocol 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data_status/data.pkl", pickle.dumps(ranks, protocol=2))
        archive.writestr("data_status/version", "3\n")


def weights(path: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {name: {"dtype": "BF16", "shape": edges, "data_offsets": [0, 0]} for name, edges in tensors.items()}
    header = json.dumps(told).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def ranks_of(*workers: int) -> list[dict[str, Any]]:
    return [{GROUP: {worker: [0, 7] for worker in workers}}]


def test_sees_the_newest_checkpoint_its_workers_and_its_model(tmp_path: Path) -> None:
    told = settings(tmp_path)
    folder = Path(told["training_checkpoint_dir"])
    assert resume_state.observe(told).step is None
    for name in ("0000510", "0001020", "notes"):
        (folder / name).mkdir(parents=True)
    (folder / "0009999").write_text("a file")
    save_status(folder / "0001020/data_status.pt", ranks_of(2, 0, 1))
    weights(folder / "0001020/model.safetensors", TENSORS)
    weights(Path(told["weights_dir"]) / "ema.safetensors", {**TENSORS, "vit_pos_embed.pos_embed": (9, 9)})
    found = resume_state.observe(told)
    assert (found.step, found.path, found.workers) == (1020, f"{folder}/0001020", ((0, 1, 2),))
    assert found.model == found.weights != ""
    weights(Path(told["weights_dir"]) / "ema.safetensors", {**TENSORS, "a.weight": (3, 3)})
    assert resume_state.observe(told).model != resume_state.observe(told).weights


def test_adapters_are_compared_with_the_header_of_their_base(tmp_path: Path) -> None:
    told = settings(tmp_path)
    base, folder = Path(told["weights_dir"]) / "ema.safetensors", Path(told["training_checkpoint_dir"])
    weights(base, TENSORS)
    saves.save(folder, 20, files=saves.LORA)
    assert resume_state.observe(told).model == saves.BASE != resume_state.observe(told).weights
    digest = sha256(base.read_bytes()[8:]).hexdigest()
    (folder / "0000020/adapter.safetensors").write_bytes(saves.adapter(20, base_header_sha256=digest))
    assert resume_state.observe(told).model == resume_state.observe(told).weights == digest


STATUS = {
    "another group": ([{"other": {0: [0, 1]}}], [[]]),
    "a rank without batches": ([{GROUP: {0: [0, 1]}}, {}, None], [[0], [], []]),
    "something else": (7, None),
    "a call of a function": (print, None),
}


@pytest.mark.parametrize(("content", "workers"), STATUS.values(), ids=STATUS)
def test_reads_a_data_status_and_runs_nothing_of_it(tmp_path: Path, content: Any, workers: Any) -> None:
    save_status(tmp_path / "s.pt", content)
    assert data_status.workers(str(tmp_path / "s.pt"), GROUP) == workers


class Attack:
    """What a hostile checkpoint holds: a call that is made while the pickle is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_data_status_that_calls_a_program_is_none_and_the_call_is_not_made(tmp_path: Path) -> None:
    save_status(tmp_path / "s.pt", [{GROUP: {0: Attack(tmp_path / "executed")}}])
    assert data_status.workers(str(tmp_path / "s.pt"), GROUP) is None
    assert [path.name for path in tmp_path.iterdir()] == ["s.pt"]


HUGE = 1 << 40
BOMBS = {
    "a text of a terabyte": b"\x8d" + struct.pack("<Q", HUGE) + b"x.",
    "bytes of a terabyte": b"\x96" + struct.pack("<Q", HUGE) + b"x.",
    "a memo of gigabytes": b"]r\xff\xff\xff\x7f.",
    "a frame of a terabyte": b"\x95" + struct.pack("<Q", HUGE) + b"].",
    "marks without end": b"(" * 120_000 + b"t" * 100_000 + b".",
    "lists in lists": b"]" * 120_000 + b"a" * 119_999 + b".",
    "one mapping without end": b"}q\x00X\x02\x00\x00\x00abK\x01s0](" + b"h\x00" * 120_000 + b"e.",
    "too few values": b"]\x87.",
    "no list": b"K\x01K\x02a.",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_data_status_that_asks_for_gigabytes_gets_none(tmp_path: Path, bomb: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "s.pt", "w") as archive:
        archive.writestr("s/data.pkl", b"\x80\x04" + bomb)
    tracemalloc.start()
    begun = time.monotonic()
    data_status.workers(str(tmp_path / "s.pt"), GROUP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 << 20
    assert time.monotonic() - begun < 10


def test_what_is_no_plain_data_is_refused_at_its_first_word() -> None:
    for value in (print, {1, 2}, b"bytes", 1 << 3000, Path("/x")):
        with pytest.raises(ValueError, match="in a data status"):
            data_status.plain(pickle.dumps([value], protocol=4))


def test_more_workers_than_any_run_has_are_none(tmp_path: Path) -> None:
    """One mapping of ten thousand, told of a hundred ranks, has few bytes."""
    one = {GROUP: dict.fromkeys(range(10_000), 1)}
    save_status(tmp_path / "s.pt", [one] * 100)
    assert data_status.workers(str(tmp_path / "s.pt"), GROUP) is None
    save_status(tmp_path / "s.pt", [one] * 2)
    assert data_status.workers(str(tmp_path / "s.pt"), GROUP) == [list(range(10_000))] * 2


def test_an_archive_that_is_packed_is_none_of_torchs(tmp_path: Path) -> None:
    """A packed entry may ask for a dictionary of gigabytes (LZMA), or grow a thousand times (deflate)."""
    for kind in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "s.pt", "w", kind) as archive:
            archive.writestr("s/data.pkl", pickle.dumps(ranks_of(0), protocol=2))
        assert data_status.workers(str(tmp_path / "s.pt"), GROUP) is None


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_reads_what_python_writes(protocol: int) -> None:
    shared = {0: [3, 7], 1: (1, 2, 3), 300: [70_000, -1, 1 << 40, 0.5, True, None, False]}
    value = [{GROUP: shared}, {GROUP: shared, "other": {}}, None, (), (1, 2, 3, 4)]
    assert data_status.plain(pickle.dumps(value, protocol=protocol)) == value


@bounds(max_examples=60, deadline=None)
@given(st.data())
def test_a_broken_data_status_is_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "broken.pt"
    save_status(path, ranks_of(0, 1))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:at] + data.draw(st.binary(max_size=3)))
    assert data_status.workers(str(path), GROUP) in (None, [[0, 1]])


KEYS = {
    "a key in the open": ("export WANDB_API_KEY=0123456789abcdef", True),
    "in quotes": ('export WANDB_API_KEY="0123456789abcdef"\n', True),
    "in Python": ("os.environ['X']; WANDB_API_KEY = '0123456789abcdef'", True),
    "the guide's placeholder": ('export WANDB_API_KEY="your_key"', False),
    "the user's placeholder": ('export WANDB_API_KEY="your_wandb_key"', False),
    "from a file": ('WANDB_API_KEY="$(cat "$key_file")"', False),
    "passed on": ("export WANDB_API_KEY", False),
    "empty": ("export WANDB_API_KEY=", False),
}


@pytest.mark.parametrize(("text", "found"), KEYS.values(), ids=KEYS)
def test_finds_a_key_in_a_script_and_does_not_repeat_it(tmp_path: Path, text: str, found: bool) -> None:
    (tmp_path / "train.sh").write_text(text)
    (tmp_path / "folder").mkdir()
    assert resume_state.keys(str(tmp_path)) == ([f"{tmp_path}/train.sh"] if found else [])


def test_our_own_script_holds_no_key(tmp_path: Path) -> None:
    told = settings(run_config_enable_wandb=True, run_config_wandb_api_key="sha256:12")
    (tmp_path / "train.sh").write_text(run_texts.texts(told, topology()).script)
    assert resume_state.keys(str(tmp_path)) == []


def test_reads_the_flags_of_our_own_script_back() -> None:
    told = settings("/srv/方块 移动", run_config_lr=2e-5)
    assert resume_state.flags(run_texts.texts(told, topology()).script) == launch.flags(told, topology())


FLAGS = {
    "by hand": ("torchrun \\\n  -m x \\\n  --resume-model-only True --lr $LR --num_workers 2", "2"),
    "no launch": ("echo --num_workers 2", ""),
    "an open quote": ("torchrun --num_workers 2 '", ""),
}


@pytest.mark.parametrize(("text", "workers"), FLAGS.values(), ids=FLAGS)
def test_reads_what_is_literal(text: str, workers: str) -> None:
    found = resume_state.flags(text)
    assert found.get("num_workers", "") == workers
    assert "lr" not in found


def at_step(step: int, **changes: Any) -> dict[str, Any]:
    state = {"step": step, "path": f"/c/{step:07d}", "workers": FOUR, "model": "m", "weights": "m", "keys": []}
    return {"resume": {**state, **changes}}


GUIDE_SCRIPT = "torchrun -m train.pretrain_unified_navit --num_workers 4 --freeze_llm True"
FINDINGS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]] = {
    "goes on as before": (at_step(510), {}, {}, []),
    "auto_resume is off": ({}, {"run_config_auto_resume": False}, {}, ["AUTO_RESUME_OFF"]),
    "more workers than the checkpoint knows": (at_step(510), {}, {"num_workers": 5}, ["WORKERS_GROWN"]),
    "fewer workers": (at_step(510), {}, {"num_workers": 3}, []),
    "more workers, but nothing is resumed": (
        at_step(510),
        {"run_config_auto_resume": False},
        {"num_workers": 5},
        ["AUTO_RESUME_OFF"],
    ),
    "one rank's worker gave no batch": (at_step(510, workers=[[0, 1, 2, 3], [0, 1]]), {}, {}, ["WORKERS_GROWN"]),
    "a rank without a place begins anew": (at_step(510, workers=[[0, 1, 2, 3], []]), {}, {}, []),
    "a place that cannot be read": (at_step(510, workers=None), {}, {"num_workers": 9}, []),
    "more workers, but no step is left": (at_step(1530), {}, {"num_workers": 5}, []),
    "another model": (at_step(510, model="n"), {}, {}, ["CHECKPOINT_OTHER_MODEL"]),
    "a model whose weights are not there yet": (at_step(510, weights=""), {}, {}, []),
    "a finished run as it was": (at_step(1530), {}, {}, []),
    "a finished run with other settings": (at_step(1530), {"run_config_lr": 2e-5}, {}, ["RUN_ALREADY_DONE"]),
    "a finished run with another log": (at_step(1530), {"run_config_log_every": 5}, {}, []),
    "a run half done with other settings": (at_step(1020), {"run_config_lr": 2e-5}, {}, []),
    "somebody's finished run": ({**at_step(1530), "script__text": ""}, {}, {}, ["RUN_ALREADY_DONE"]),
    "full after frozen": ({**at_step(510), "script__text": GUIDE_SCRIPT}, {}, {}, ["CHECKPOINT_OTHER_PROFILE"]),
    "frozen after full": (at_step(510), {"training_profile": "frozen"}, {}, ["CHECKPOINT_OTHER_PROFILE"]),
    "frozen after frozen": (
        {**at_step(510), "script__text": GUIDE_SCRIPT},
        {"training_profile": "frozen"},
        {},
        [],
    ),
    "frozen without a checkpoint": ({"script__text": "torchrun"}, {"training_profile": "frozen"}, {}, []),
    "frozen parts of unpatched code": (
        {},
        {"run_config_extra_flags": {"freeze_llm": "yes"}},
        {},
        ["FREEZE_NEEDS_PROFILE"],
    ),
    "a frozen ViT of unpatched code": ({}, {"run_config_extra_flags": {"freeze_vit": True}}, {}, []),
    "no EMA copy": ({}, {"run_config_ema": 0.0}, {}, []),
    "a small optimizer after a large one": (
        at_step(510),
        {"run_config_optimizer": "adamw_8bit"},
        {},
        ["CHECKPOINT_OTHER_OPTIMIZER"],
    ),
    "a large one after a small one": (
        {**at_step(510), "script__text": "torchrun -m train.pretrain_unified_navit --fleet_optimizer adamw_8bit"},
        {},
        {},
        ["CHECKPOINT_OTHER_OPTIMIZER"],
    ),
    "fused after upstream's": (at_step(510), {"run_config_optimizer": "adamw_fused"}, {}, []),
    "a save before the last worker": (
        {},
        {"run_config_save_every": 6, "run_config_total_steps": 600},
        {"num_workers": 8},
        ["SAVED_BEFORE_ALL_WORKERS"],
    ),
    "a save with the last worker": (
        {},
        {"run_config_save_every": 6, "run_config_total_steps": 600},
        {"num_workers": 7},
        [],
    ),
    "a key in a script": ({"resume__keys": ["/s/run.sh"]}, {}, {}, ["WANDB_KEY_IN_SCRIPT"]),
}


@pytest.mark.parametrize(("have", "changes", "place", "codes"), FINDINGS.values(), ids=FINDINGS)
def test_finds(have: dict[str, Any], changes: dict[str, Any], place: dict[str, Any], codes: list[str]) -> None:
    plan = run_texts.decide(seen(**have), settings(**changes), topology(**place))
    assert [found.code for found in plan.findings] == codes


def test_the_finding_about_workers_names_the_most_that_work() -> None:
    plan = run_texts.decide(seen(**at_step(510, workers=[[0, 1], [0, 1, 3]])), settings(), topology())
    assert plan.findings[0].found == "/c/0000510: rank 0 knows workers [0, 1], the run will have 4"
    assert plan.findings[0].expected == "run_config_num_workers of at most 2"


def test_a_finished_run_names_what_would_not_be_trained() -> None:
    plan = run_texts.decide(seen(**at_step(2000)), settings(run_config_lr=2e-5), topology())
    assert plan.findings[0].found == "/c/0002000 has all 1530 steps; changed since: --lr 2e-5"


def test_the_host_tells_all_of_it(tmp_path: Path) -> None:
    lay_out(tmp_path)
    told = settings(tmp_path)
    script = Path(told["run_config_script"])
    script.parent.mkdir(parents=True)
    script.with_name("old.sh").write_text("export WANDB_API_KEY=0123456789abcdef\n")
    save_status(Path(told["training_checkpoint_dir"]) / "0000510/data_status.pt", ranks_of(0, 1))
    plan = run_texts.decide(run_config.observe(told), told, topology())
    assert {found.code for found in plan.findings} == {"WANDB_KEY_IN_SCRIPT", "WORKERS_GROWN"}
