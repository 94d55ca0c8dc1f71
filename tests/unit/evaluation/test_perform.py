"""An evaluation never works beside a training, and leaves a record of how far it is and why it failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import perform, state
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.found import Found, Save
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec
from ansible_collections.canvas.fleet.plugins.module_utils.system import units

UNIT = "canvas-training-atlas"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spec:
    found = Found(1000, saves=(Save(60, "/r/checkpoints/0000060", "full", ("model.safetensors",)),), free=10**12)
    monkeypatch.setattr(perform, "look", lambda _spec: found)
    return Spec(mode="loss", folder=str(tmp_path / "evaluation"), code="/c", commit="c", base="/m", checkpoints="/k",
                kept="/k-kept", results="/r", parquet="/t")  # fmt: skip


def works(monkeypatch: pytest.MonkeyPatch, *steps: tuple[int, int, str], error: Exception | None = None) -> None:
    def run(spec: Spec, progress: Progress) -> dict[str, Any]:
        for done, total, what in steps:
            progress(done, total, "rows", what)
        if error:
            raise error
        return {"changed": True}

    monkeypatch.setattr(perform.program, "run", run)


def record(spec: Spec) -> Any:
    path = Path(spec.folder) / state.STATE
    return json.loads(path.read_text()) if path.exists() else None


@pytest.mark.parametrize(
    ("alive", "refused"),
    [
        pytest.param({UNIT: "active"}, True, id="this run trains"),
        pytest.param({"canvas-training-other": "activating"}, True, id="another run begins to train"),
        pytest.param({"canvas-training-other-evaluation": "active"}, True, id="another run is evaluated"),
        pytest.param({f"{UNIT}-evaluation": "active"}, False, id="this evaluation itself"),
        pytest.param({}, False, id="nobody else"),
    ],
)
def test_a_host_that_trains_is_not_evaluated_on(
    spec: Spec, monkeypatch: pytest.MonkeyPatch, alive: dict[str, str], refused: bool
) -> None:
    works(monkeypatch)
    if not refused:
        assert perform.perform(spec, UNIT, Progress(), lambda: alive) == {"changed": True}
        return
    with pytest.raises(FleetError) as caught:
        perform.perform(spec, UNIT, Progress(), lambda: alive)
    assert caught.value.code == "EVALUATION_BUSY"
    assert not Path(spec.folder).exists(), "nothing was made"


def test_a_training_that_ends_is_waited_for(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch)
    states: Iterator[Mapping[str, str]] = iter([{UNIT: "deactivating"}, {UNIT: "deactivating"}, {}])
    slept: list[float] = []
    assert perform.perform(spec, UNIT, Progress(), lambda: next(states), slept.append) == {"changed": True}
    assert slept == [1.0, 1.0]


def test_one_that_never_ends_is_not(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch)
    slept: list[float] = []
    with pytest.raises(FleetError, match="deactivating"):
        perform.perform(spec, UNIT, Progress(), lambda: {UNIT: "deactivating"}, slept.append)
    assert sum(slept) == perform.ENDING


def test_what_is_in_the_way_is_said_before_anything_is_made(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch)
    monkeypatch.setattr(perform, "look", lambda _spec: Found(None, saves=(), free=0))
    with pytest.raises(FleetError) as caught:
        perform.perform(spec, UNIT, Progress(), dict)
    assert caught.value.code == "EVALUATION_TEST_MISSING"
    assert "2 more: EVALUATION_STEP_UNKNOWN, EVALUATION_DISK_SHORT" in caught.value.found
    assert not Path(spec.folder).exists()


def test_others_see_how_far_it_is_and_why_it_failed(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    told = Progress(lambda _state: seen.append(record(spec)))
    works(monkeypatch, (0, 0, "waits for another evaluation of this run"), (1, 138, "evaluates base"), (2, 138, "base"))
    perform.perform(spec, UNIT, told, dict)
    assert seen[0] is None, "who waits leaves the record of the other alone"
    assert (seen[-1]["done"], seen[-1]["mode"]) == (1, "loss")
    assert record(spec) is None
    works(monkeypatch, error=RuntimeError("CUDA out of memory"))
    with pytest.raises(RuntimeError):
        perform.perform(spec, UNIT, told, dict)
    found = state.state_of(spec.folder)
    assert found is not None
    assert found.error == "CUDA out of memory"


SHOWN = [
    {"Id": "canvas-training-a.service", "ActiveState": "active"},
    {"Id": "canvas-training-a-gpu.service", "ActiveState": "active"},
    {"Id": "canvas-training-a-merge.service", "ActiveState": "active"},
    {"Id": "canvas-training-a-evaluation.service", "ActiveState": "activating"},
    {"Id": "canvas-training-b.service", "ActiveState": "inactive"},
]


def test_trainings_and_evaluations_count_and_their_helpers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "show", lambda *_asked: SHOWN)
    assert state.busy() == {"canvas-training-a": "active", "canvas-training-a-evaluation": "activating"}


@pytest.mark.parametrize(("active", "asked"), [("active", True), ("inactive", False), ("failed", False)])
def test_a_start_of_a_training_ends_each_evaluation_of_the_host(
    monkeypatch: pytest.MonkeyPatch, active: str, asked: bool
) -> None:
    said: list[tuple[str, ...]] = []
    monkeypatch.setattr(units, "show", lambda *_asked: [{"ActiveState": active}])
    monkeypatch.setattr(units, "systemctl", lambda *words: said.append(words))
    state.stop_all()
    assert said == ([("stop", "canvas-work-evaluation.service", "canvas-training-*-evaluation.service")] * asked)
