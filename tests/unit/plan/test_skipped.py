"""Checks that were not made are listed with their reason, in the text and as data; a check that was made is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import finding
from ansible_collections.canvas.fleet.plugins.module_utils.plan import make, text
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import HostSeen
from ansible_collections.canvas.fleet.plugins.module_utils.plan.skipped import skipped

SETTINGS: dict[str, Any] = {"nvidia_gpu_expected": True, "training_state": "started"}
PLANS = {"canvas_code": RolePlan(), "dataset": RolePlan(values={"inspected": True})}
ROLES: dict[str, Any] = {
    "nvidia": {"state": "works"},
    "training": {"phase": "absent"},
    "canvas_code": {"state": "checkout"},
}
SEEN: dict[str, Any] = {"facts": {"around": {"shm": None}}, "asked": [1, 2], "roles": ROLES}


def roles(**changes: Any) -> dict[str, Any]:
    return {**SEEN, "roles": {**ROLES, **changes}}


CASES: dict[str, tuple[Mapping[str, Any], dict[str, Any], Mapping[str, RolePlan], list[str]]] = {
    "all was looked at": (SEEN, {}, PLANS, []),
    "an observation without the environment": (
        {**SEEN, "facts": {}},
        {},
        PLANS,
        ["file systems, compiler, shared memory and ports"],
    ),
    "no time of the controller's": ({**SEEN, "asked": None}, {}, PLANS, ["the clock"]),
    "no driver yet": (
        roles(nvidia={"state": "absent"}),
        {},
        PLANS,
        ["memory, kind, errors and programs of the GPUs"],
    ),
    "no driver, and no GPU is expected": (
        roles(nvidia={"state": "absent"}), {"nvidia_gpu_expected": False}, PLANS, []
    ),
    "a training that runs": (
        roles(training={"phase": "running"}),
        {},
        PLANS,
        ["the run's port, its first host, and what a start would resume from"],
    ),
    "no code yet": (roles(canvas_code={"state": "absent"}), {}, PLANS, ["the files of the upstream code"]),
    "rows that nobody read": (SEEN, {}, {**PLANS, "dataset": RolePlan()}, ["the rows of the data"]),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "settings", "plans", "checks"), CASES.values(), ids=CASES)
def test_what_was_skipped_is_said(
    seen: Mapping[str, Any], settings: dict[str, Any], plans: Mapping[str, RolePlan], checks: list[str]
) -> None:
    found = list(skipped(seen, {**SETTINGS, **settings}, plans))
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
