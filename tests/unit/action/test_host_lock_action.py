"""For whom a host is locked while it is changed, and what becomes of a holder that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action import nvidia_host, training_follow
from ansible_collections.canvas.fleet.plugins.plugin_utils import controller

from tests.unit.support import actions

LOCKED = {"failed": True, "msg": "HOST_LOCKED: x", "finding": {"code": "HOST_LOCKED"}}


def asked(answers: Iterator[Any], plugin: Any = nvidia_host, check: bool = False, **variables: Any) -> list[Any]:
    made = actions.action(plugin, answers, {"training_follow": False}, check)
    result = actions.run(made, **variables)
    return [result, *(one["controller"] for one in made.asked)]


def test_a_change_is_asked_for_in_the_controllers_name_with_what_its_plan_has_seen() -> None:
    _, given = asked(iter([{"changed": True}]), __fleet_seen={"lock": {"last": "b"}})
    assert given == {**controller.identity(), "seen": "b"}
    assert given["id"]


def test_a_dry_run_and_a_look_at_a_training_lock_nothing() -> None:
    assert asked(iter([{"changed": True}]), check=True)[1] == {}
    assert asked(iter([{"failed": True, "msg": "x"}]), training_follow)[1] == {}


@pytest.mark.parametrize("gone", [True, False])
def test_a_holder_that_is_gone_costs_one_more_call_and_another_one_stops_us(gone: bool) -> None:
    holder = {**controller.identity(), "id": "b", **({"started": "1"} if gone else {})}
    result, first, *more = asked(iter([{**LOCKED, "holder": holder}, {"changed": True}]))
    assert "over" not in first
    assert [one["over"] for one in more] == (["b"] if gone else [])
    assert result.get("failed", False) is not gone


def test_a_holder_without_a_name_is_none() -> None:
    holder = {**controller.identity(), "id": "", "started": "1"}
    del holder["id"]
    result, _first, *more = asked(iter([{**LOCKED, "holder": holder}]))
    assert (result["failed"], more) == (True, [])
    assert "KeyError" not in str(result)
