"""What the log of a training of adapters gives away."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.adapter_findings import judge
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.log import Adapters, Summary
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL


def seen(number: int = 392, moved: float | None = 0.1, step: int = 30, start: int = 0) -> Summary:
    return Summary(step=step, start_step=start, adapters=Adapters(number, 161_480_704, 32, 1130, moved))


@pytest.mark.parametrize(
    ("log", "settings", "codes"),
    [
        pytest.param(seen(), {}, [], id="as it should be"),
        pytest.param(Summary(step=30), {}, [], id="an older log"),
        pytest.param(seen(224), {}, ["ADAPTERS_UNEXPECTED"], id="those of the attention alone"),
        pytest.param(seen(224), {"training_lora_targets": "attention"}, [], id="as they were asked for"),
        pytest.param(seen(moved=0.0), {}, ["ADAPTERS_STILL"], id="nothing is learned"),
        pytest.param(seen(moved=0.0, step=19), {}, [], id="too soon to say"),
        pytest.param(seen(moved=0.0, step=529, start=511), {}, [], id="too soon after a resume"),
        pytest.param(seen(moved=None), {}, [], id="not said yet"),
        pytest.param(seen(224, 0.0), {"training_profile": "full"}, [], id="the log of another profile"),
    ],
)
def test_finds(log: Summary, settings: dict[str, Any], codes: list[str]) -> None:
    told: Any = {"training_profile": "lora", "training_lora_targets": "all", **settings}
    assert [one.code for one in judge(log, BAGEL, told)] == codes
