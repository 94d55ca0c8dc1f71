"""Checks that were not made are listed with their reason, in the text and as data; a check that was made is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import finding
from ansible_collections.canvas.fleet.plugins.module_utils.machine.environment import Environment
from ansible_collections.canvas.fleet.plugins.module_utils.machine.host import Host
from ansible_collections.canvas.fleet.plugins.module_utils.plan import make, text
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import HostSeen
from ansible_collections.canvas.fleet.plugins.module_utils.plan.skipped import skipped

SETTINGS: dict[str, Any] = {"nvidia_gpu_expected": True, "training_state": "started"}
PLANS = {"canvas_code": RolePlan(), "dataset": RolePlan(values={"inspected": True})}
SEEN = Host("a", Environment(), driver="580.95.05", asked=(1.0, 2.0))
NO_DRIVER = replace(SEEN, driver="")


CASES: dict[str, tuple[Host, str, dict[str, Any], Mapping[str, RolePlan], list[str]]] = {
    "all was looked at": (SEEN, "checkout", {}, PLANS, []),
    "no time of the controller's": (replace(SEEN, asked=None), "copy", {}, PLANS, ["the clock"]),
    "no driver yet": (NO_DRIVER, "copy", {}, PLANS, ["memory, kind, errors and programs of the GPUs"]),
    "no driver, and no GPU is expected": (NO_DRIVER, "copy", {"nvidia_gpu_expected": False}, PLANS, []),
    "a training that runs": (
        replace(SEEN, phase="running"),
        "copy",
        {},
        PLANS,
        ["the run's port, its first host, and what a start would resume from"],
    ),
    "no code yet": (SEEN, "absent", {}, PLANS, ["the files of the upstream code"]),
    "rows that nobody read": (SEEN, "copy", {}, {**PLANS, "dataset": RolePlan()}, ["the rows of the data"]),
}


@pytest.mark.parametrize(("host", "code", "settings", "plans", "checks"), CASES.values(), ids=CASES)
def test_what_was_skipped_is_said(
    host: Host, code: str, settings: dict[str, Any], plans: Mapping[str, RolePlan], checks: list[str]
) -> None:
    found = list(skipped(host, code, {**SETTINGS, **settings}, plans))
    assert [one.check for one in found] == checks
    assert all(one.reason for one in found)


def test_nothing_of_a_lost_host_passes_for_checked() -> None:
    lost = finding("HOST_UNREACHABLE", host="b", found="no route", expected="an answer")
    plan = make.make_plan([HostSeen(name, "r", findings=(lost,)) for name in "abcdef"], {})
    assert plan.as_dict()["hosts"]["a"]["skipped"] == [
        {"check": "everything on the host", "reason": "HOST_UNREACHABLE"}
    ]
    line = "skipped  everything on the host: HOST_UNREACHABLE (a, b, c, d and 2 more)"
    assert text.skipped_lines(plan) == [line]
    assert line in text.plan_text(plan).splitlines()
