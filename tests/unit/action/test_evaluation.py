"""An evaluation is judged on the controller before anything starts, and each reason against it is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action import evaluation
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.found import Found, Save
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.memory import Need
from ansible_collections.canvas.fleet.plugins.module_utils.machine.gpu import Gpu
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import Observation as Host
from ansible_collections.canvas.fleet.plugins.module_utils.roles.evaluation.observe import Observation

from tests.unit.support import actions
from tests.unit.support.units import SETTINGS

SAVE = Save(60, "/r/checkpoints/0000060", "full", ("model.safetensors",))
SOUND = Observation(Found(1000, saves=(SAVE,), free=10**12, need=Need(36 * 10**9, None)))


def judged(seen: Any, **variables: Any) -> tuple[dict[str, Any], list[str]]:
    """The result, and what was shown on the terminal."""
    answer = {"changed": False, "seen": wire.to_dict(seen) if isinstance(seen, Observation) else seen}
    made = actions.action(evaluation, iter([answer]), SETTINGS)
    shown: list[str] = []
    made.show = shown.append
    return actions.run(made, **variables), shown


def test_what_is_evaluated_comes_with_its_files() -> None:
    result, _shown = judged(SOUND)
    assert (result["changed"], result["subjects"]) == (False, ["base", "0000060"])
    assert result["weights"]["0000060"] == "/r/checkpoints/0000060/model.safetensors"
    assert result["diff"]["after"] == "0000060\nbase\n"


def test_each_reason_against_it_is_said() -> None:
    result, shown = judged(replace(SOUND, found=Found(None, free=0), busy={"canvas-training-b": "active"}))
    assert result["failed"]
    assert result["msg"].startswith("EVALUATION_TEST_MISSING")
    assert [line.split()[1].rstrip(":") for line in shown] == [
        "EVALUATION_STEP_UNKNOWN",
        "EVALUATION_DISK_SHORT",
        "EVALUATION_BUSY",
    ]


def test_the_gpus_are_those_that_the_plan_has_seen() -> None:
    host = wire.to_dict(Host())
    host["roles"]["nvidia"]["gpus"] = [wire.to_dict(Gpu(0, "NVIDIA RTX", 24 * 10**9))]
    result, _shown = judged(SOUND, __fleet_seen={"observation": host})
    assert result["finding"]["code"] == "EVALUATION_GPU_SMALL"


def test_a_host_of_a_higher_rank_is_not_asked() -> None:
    made = actions.action(evaluation, iter([]), SETTINGS)
    result = actions.run(made, preflight_plan={"topology": {**actions.TOPOLOGY, "node_rank": 1}})
    assert (result["skipped"], made.asked) == (True, [])


@pytest.mark.parametrize(
    "lie", [{"found": {"saves": 7}}, {"found": {"free": "much"}}, {"busy": ["a"]}, "nothing"], ids=str
)
def test_an_answer_of_another_form_is_refused(lie: Any) -> None:
    result, _shown = judged(lie)
    assert result["failed"]
    assert "malformed" in result["msg"].lower() or "declared" in result["msg"].lower()
