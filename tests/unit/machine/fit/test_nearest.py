"""The profiles that are offered in place of one that does not fit."""

from __future__ import annotations

from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import Run
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.nearest import profiles
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL


def test_a_profile_has_the_ema_copy_that_its_name_says() -> None:
    assert {name: kind.ema_copy for name, kind in profiles(Run(BAGEL, 2)).items() if "lora" not in name} == {
        "full": True, "full, no EMA copy": False, "full, 8 bit": False, "full, cpu_offload": True,
        "frozen": False, "frozen, EMA copy": True, "frozen, cpu_offload, 1 process": False,
    }  # fmt: skip
