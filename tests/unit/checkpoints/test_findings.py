"""The plan announces what the guard will do or refuse at a start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import examined
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import findings as checkpoint_findings
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.adapter import Adapter
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.checkpoint import Checkpoint, Survey

from tests.unit.support.guarded import Run
from tests.unit.support.saves import save

FOLDER = "/out/checkpoints"
NOTHING = Survey()


def one(step: int, kind: str = "whole", shards: int = 2, folder: str = FOLDER) -> Checkpoint:
    flaws = () if kind == "whole" else ("scheduler.pt is missing",)
    return Checkpoint(step, f"{folder}/{step:07d}", kind, flaws, shards)


def told(found: Survey, kept: Survey = NOTHING, rank: int = 0, **settings: Any) -> list[tuple[str, str, str]]:
    given = {
        "training_checkpoint_dir": FOLDER, "training_results_dir": "/out", "run_config_save_every": 20,
        "training_peer_port": 29601, **settings,
    }  # fmt: skip
    topology = Topology("a", ("x", "y"), rank, 2, 1, "x", 1)
    return [(f.code, f.found, f.remedy) for f in checkpoint_findings.start_findings(found, kept, given, topology)]


@pytest.mark.parametrize(
    ("found", "kept", "expected"),
    [
        pytest.param([one(20), one(40)], [], [], id="all is well"),
        pytest.param([], [], [], id="nothing yet"),
        pytest.param(
            [one(20), one(40, "incomplete")], [],
            [("CHECKPOINT_INCOMPLETE", f"{FOLDER}/0000040: scheduler.pt is missing", "resumes from step 20")],
            id="a cut save after a whole one",
        ),
        pytest.param(
            [one(20, "incomplete")], [],
            [("CHECKPOINT_INCOMPLETE", f"{FOLDER}/0000020: scheduler.pt is missing", "begins at step 0")],
            id="the very first save was cut",
        ),
        pytest.param(
            [one(20, "model"), one(40, "incomplete")], [one(20, folder="/out/kept")],
            [("CHECKPOINT_INCOMPLETE", f"{FOLDER}/0000040: scheduler.pt is missing", "resumes from step 20")],
            id="the one before is put back from its links",
        ),
        pytest.param([one(20, "model")], [one(20, folder="/out/kept")], [], id="the newest itself is put back"),
        pytest.param(
            [one(20, "model"), one(40, "model")], [],
            [("CHECKPOINTS_NONE_WHOLE", f"{FOLDER}/0000040: scheduler.pt is missing", "copy a whole checkpoint")],
            id="models alone",
        ),
        pytest.param(
            [one(20, shards=4), one(40, "incomplete")], [],
            [
                ("CHECKPOINT_INCOMPLETE", f"{FOLDER}/0000040: scheduler.pt is missing", "step 20"),
                ("CHECKPOINT_SHARDS_DIFFER", f"{FOLDER}/0000020: 4 shards", ""),
            ],
            id="what it would resume from has other shards",
        ),
    ],
)  # fmt: skip
def test_what_is_told(found: list[Checkpoint], kept: list[Checkpoint], expected: list[tuple[str, str, str]]) -> None:
    said = told(Survey(tuple(found)), Survey(tuple(kept)))
    assert [(code, what) for code, what, _ in said] == [(code, what) for code, what, _ in expected]
    assert all(word in remedy for (_, _, word), (_, _, remedy) in zip(expected, said, strict=True))


def test_a_foreign_name_is_told_with_where_it_will_lie() -> None:
    ((code, found, remedy),) = told(Survey((one(20),), ("best",)))
    assert (code, found) == ("CHECKPOINTS_FOREIGN_NAME", f"{FOLDER}/best")
    assert "/out/kept/aside" in remedy


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"run_config_auto_resume": False}, id="without auto_resume the trainer does not look"),
        pytest.param({"rank": 1}, id="a node above the first takes what the first one has"),
    ],
)
def test_what_does_not_matter_is_not_told(settings: dict[str, Any]) -> None:
    assert told(Survey((one(20, "model"), one(40, "incomplete")), ("best",)), **settings) == []


def test_a_node_that_asks_nobody_is_judged_by_what_it_has() -> None:
    assert told(Survey((one(20), one(40, "incomplete"))), rank=1, training_peer_port=0)


def test_what_was_told_is_what_the_start_does(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for stop in (None, 6, 17):
        save(run.folder, 20 + 20 * len(list(run.folder.iterdir())), upto=stop)
        seen = examined.look(run.place)
        said = told(
            seen.found, Survey(seen.kept), training_checkpoint_dir=str(run.folder), training_results_dir=str(run.root)
        )
        try:
            resumed = run.start()
        except FleetError:
            assert [code for code, _, _ in said] == ["CHECKPOINTS_NONE_WHOLE"]
            return
        assert all(f"resumes from step {resumed}" in remedy for _, _, remedy in said)


def test_folders_that_are_no_checkpoints_are_announced_alone() -> None:
    found = Survey((one(2024, "incomplete"),), ("words",), ("2024", "words"))
    ((code, text, _),) = told(found)
    assert (code, text) == ("CHECKPOINT_FOLDER_SHARED", f"{FOLDER} holds 2024, words")
    assert told(Survey((one(20),), ("words",)))[0][0] == "CHECKPOINTS_FOREIGN_NAME"


LORA = Checkpoint(20, f"{FOLDER}/0000020", "whole", (), 1, form="lora", adapter=Adapter(32, 64.0, "all", True, "", 392))
SAME = {
    "training_profile": "lora", "training_lora_rank": 32, "training_lora_alpha": 64.0, "training_lora_targets": "all",
    "training_lora_connectors": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({}, None, id="the same adapters"),
        pytest.param({"training_lora_rank": 16}, ("CHECKPOINT_OTHER_ADAPTER", "rank 32"), id="another rank"),
        pytest.param({"training_lora_alpha": 32.0}, ("CHECKPOINT_OTHER_ADAPTER", "alpha 64.0"), id="another alpha"),
        pytest.param(
            {"training_lora_targets": "attention", "training_lora_connectors": False},
            ("CHECKPOINT_OTHER_ADAPTER", "targets all, connectors True"),
            id="fewer layers, and no connectors",
        ),
        pytest.param({"training_profile": "full"}, ("CHECKPOINT_OTHER_PROFILE", "the files of lora"), id="full"),
    ],
)
def test_adapters_go_on_as_they_were(settings: dict[str, Any], expected: tuple[str, str] | None) -> None:
    said = told(Survey((LORA,)), **{**SAME, **settings})
    assert [(code, found.partition(": ")[2]) for code, found, _ in said] == ([expected] if expected else [])


def test_a_model_does_not_go_on_as_adapters() -> None:
    ((code, found, _),) = told(Survey((one(20),)), **SAME)
    assert (code, found) == ("CHECKPOINT_OTHER_PROFILE", f"{FOLDER}/0000020: the files of full or frozen")
