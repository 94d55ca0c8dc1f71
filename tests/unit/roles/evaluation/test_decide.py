"""The judgement on the controller: what is evaluated, and what of the host is in its way."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.found import Found, Save
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.memory import Need
from ansible_collections.canvas.fleet.plugins.module_utils.machine.gpu import Gpu
from ansible_collections.canvas.fleet.plugins.module_utils.roles.evaluation.decide import decide, difference
from ansible_collections.canvas.fleet.plugins.module_utils.roles.evaluation.observe import Observation

from tests.unit.support.units import SETTINGS

GB = 10**9
NEED = Need(36 * GB, 9 * GB)
FOUND = Found(1000, saves=(Save(60, "/r/checkpoints/0000060", "full", ("model.safetensors",)),), free=10**12, need=NEED)


def card(memory: int, used: int = 0, index: int = 0) -> Gpu:
    return Gpu(
        index, "NVIDIA RTX", memory * GB, memory_used_bytes=used * GB, busy_processes=("/usr/bin/x",) * bool(used)
    )


def codes(seen: Observation, *gpus: Gpu, **changes: Any) -> list[str]:
    return [one.code for one in decide(seen, {**SETTINGS, **changes}, gpus).findings]


@pytest.mark.parametrize(
    ("need", "gpus", "code"),
    [
        pytest.param(NEED, [card(24)], "", id="losses are streamed"),
        pytest.param(NEED, [card(8)], "EVALUATION_GPU_SMALL", id="too small to stream"),
        pytest.param(Need(36 * GB, None), [card(24)], "EVALUATION_GPU_SMALL", id="answers on 24 GB"),
        pytest.param(Need(36 * GB, None), [card(24), card(80, index=1)], "", id="one that is large enough"),
        pytest.param(Need(36 * GB, None), [card(80, 50)], "EVALUATION_BUSY", id="held by another program"),
        pytest.param(Need(36 * GB, None), [card(80, 40)], "", id="held, with room left"),
        pytest.param(NEED, [], "", id="no GPU was seen: the role nvidia judges that"),
    ],
)
def test_a_gpu_that_cannot_hold_it_is_said_with_the_numbers(need: Need, gpus: list[Gpu], code: str) -> None:
    seen = Observation(Found(**{**vars(FOUND), "need": need}))
    assert codes(seen, *gpus) == ([code] if code else [])


def test_the_numbers_are_those_of_card_and_model() -> None:
    (one,) = decide(Observation(FOUND), SETTINGS, [card(8)]).findings
    assert (one.found, one.expected) == ("1 × NVIDIA RTX, 8.0 GB each", "9.0 GB for loss")


def test_a_host_without_gpus_by_design_is_not_judged_by_them() -> None:
    assert codes(Observation(FOUND), card(8), nvidia_gpu_expected=False) == []


@pytest.mark.parametrize(
    ("busy", "code"), [({"canvas-training-atlas": "active"}, "EVALUATION_BUSY"), ({}, "")], ids=["trains", "idle"]
)
def test_a_training_comes_first(busy: dict[str, str], code: str) -> None:
    assert codes(Observation(FOUND, busy)) == ([code] if code else [])


def test_the_memory_that_our_own_evaluation_holds_is_no_obstacle_to_attach() -> None:
    assert codes(Observation(FOUND, going=True), card(80, 70)) == []


def test_the_difference_is_what_will_be_evaluated() -> None:
    seen = Observation(Found(**{**vars(FOUND), "ended": ("base",)}))
    told = difference(seen, decide(seen, SETTINGS, ()), "loss")
    assert (told["before"], told["after"]) == ("base\n", "0000060\nbase\n")
