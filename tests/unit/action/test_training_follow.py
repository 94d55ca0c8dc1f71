"""The controller's side of a training: looking until the end, lost connections, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.canvas.fleet.plugins.action import training_follow, training_table
from ansible_collections.canvas.fleet.plugins.plugin_utils import page

from tests.unit.support import actions

PLACES = {"training_checkpoint_dir": "/srv/atlas/checkpoints", "run_config_ema": 0.9}
LOST = AnsibleConnectionFailure("timed out")


def report(phase: str, step: int | None = None, **more: Any) -> dict[str, Any]:
    told = {
        "run": "atlas",
        "phase": phase,
        "step": step,
        "total_steps": 60,
        "losses": {},
        "rate": None,
        "seconds_left": None,
        "weights": "loaded",
        "newest_step": step,
        "newest_whole": step,
        "failure": None,
    }
    return {"changed": False, "training": {**told, **more}}


@pytest.fixture
def clock() -> actions.Clock:
    return actions.Clock()


def run(
    clock: actions.Clock, answers: Iterator[Any], follow: bool = False, retry: int = 60
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The plugin's result with a host that gives these answers, and what the module was asked."""
    settings = {**PLACES, "training_follow": follow, "fleet_reconnect_timeout": retry}
    made = actions.action(training_follow, answers, settings)
    made.clock = clock
    return actions.run(made), made.asked


def test_one_look_asks_once_and_never_fails(clock: actions.Clock, shown: list[str]) -> None:
    result, asked = run(clock, iter([report("failed")]))
    assert [one["state"] for one in asked] == ["queried"]
    assert not result.get("failed")
    assert result["row"]["state"] == "failed"
    assert shown == []


@pytest.mark.parametrize(("phase", "failed"), [("finished", False), ("failed", True)])
def test_an_end_that_the_plan_saw_is_judged_without_a_question(phase: str, failed: bool) -> None:
    made = actions.action(training_follow, iter(()), {**PLACES, "training_follow": True})
    seen = {"last": report(phase, 60)["training"]}
    plan = {"topology": actions.TOPOLOGY, "roles": {"training": {"values": seen}}}
    result = actions.run(made, preflight_plan=plan)
    assert (made.asked, result.get("failed", False), result["row"]["state"]) == ([], failed, phase)


def test_it_follows_until_the_end_with_a_line_every_ten_seconds(clock: actions.Clock, shown: list[str]) -> None:
    answers = [report("running", step) for step in range(0, 40, 5)]
    result, asked = run(clock, iter([*answers, report("finished", 60)]), follow=True)
    assert not result.get("failed")
    assert len(asked) == 9
    assert clock.now == 140.0
    assert [line.split("step ")[1] for line in shown] == ["0/60", "10/60", "20/60", "30/60", "60/60  finished"]


def test_a_run_that_makes_no_step_is_still_heard_of(clock: actions.Clock, shown: list[str]) -> None:
    run(clock, iter([report("running", 5)] * 20 + [report("finished", 60)]), follow=True)
    assert shown[1] == "  atlas  step 5/60  (no new step for 60 s)"
    assert len(shown) == 3


@pytest.mark.parametrize("end", [report("failed", 20), report("stopped", 20), report("finished", 40), report("absent")])
def test_a_run_that_did_not_end_whole_fails(clock: actions.Clock, shown: list[str], end: dict[str, Any]) -> None:
    result, _ = run(clock, iter([report("running", 10), end]), follow=True)
    assert result["failed"]
    assert result["msg"].startswith("run atlas ended with problems: ")
    assert result["row"]["host"] == "atlas"


def test_a_restart_by_systemd_is_waited_for(clock: actions.Clock, shown: list[str]) -> None:
    result, _ = run(clock, iter([report("restarting", 20), report("running", 30), report("finished", 60)]), follow=True)
    assert not result.get("failed")


def test_a_lost_connection_is_tried_again(clock: actions.Clock, shown: list[str]) -> None:
    result, _ = run(clock, iter([report("running", 5), LOST, LOST, report("finished", 60)]), follow=True)
    assert not result.get("failed")
    assert "  atlas  no connection; tries for 60 s" in shown


def test_a_connection_that_stays_lost_ends_the_watch_and_says_that_the_training_goes_on(
    clock: actions.Clock, shown: list[str]
) -> None:
    def forever() -> Iterator[Any]:
        yield report("running", 5)
        while True:
            yield LOST

    with pytest.raises(AnsibleConnectionFailure, match="goes on there"):
        run(clock, forever(), follow=True, retry=30)
    assert 130 <= clock.now <= 140


def test_a_wrong_host_key_is_not_waited_for(clock: actions.Clock, shown: list[str]) -> None:
    with pytest.raises(AnsibleConnectionFailure, match="verification failed"):
        run(clock, iter([AnsibleConnectionFailure("Host key verification failed.")]), follow=True)
    assert clock.now == 100.0


def test_what_the_module_could_not_tell_is_passed_on(clock: actions.Clock, shown: list[str]) -> None:
    result, _ = run(clock, iter([{"failed": True, "msg": "no python"}]), follow=True)
    assert result == {"failed": True, "msg": "no python"}


def test_the_table_has_every_host_of_the_group(clock: actions.Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(page.Display, "display", lambda self, text, **kinds: lines.append(text))
    row, _ = run(clock, iter([report("finished", 60)]))
    task = SimpleNamespace(args={}, check_mode=False, async_val=0, collections=None)
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
    made: Any = training_table.ActionModule(task, connection, SimpleNamespace(), None, None, None)
    hostvars = {
        "atlas": {"__training_status": row},
        "bolt0": {"__training_status": {"unreachable": True, "msg": "timed\nout"}, "training_run": "bolt"},
        "bolt1": {},
        "crux": {},
        "dione": {},
        "ember": {},
    }
    seen = {"run": "crux", "phase": "running", "step": 5}
    found = {"found": "left out by --limit", "severity": "error", "accepted": False}
    aside = [{**found, "code": "OTHER", "severity": "note"}, {**found, "code": "KNOWN", "accepted": True}]
    findings = [*aside, {**found, "code": "HOST_MISSING"}]
    planned = {
        "crux": {"topology": {"node_rank": 0}, "roles": {"training": {"values": {"report": seen}}}},
        "dione": {"roles": {}, "state": "not asked", "findings": findings},
        "ember": {"roles": {}, "state": "no answer", "findings": []},
    }
    told = {"groups": {"trainers": list(hostvars)}, "hostvars": hostvars, "__fleet_plan": {"hosts": planned}}
    result = made.run(task_vars=told)
    assert [(one["host"], one["run"], one["state"], one["note"]) for one in result["rows"]] == [
        ("atlas", "atlas", "finished", ""),
        ("bolt0", "bolt", "failed", "timed out"),
        ("bolt1", "bolt1", "not asked", ""),
        ("crux", "crux", "running", ""),
        ("dione", "dione", "not asked", "HOST_MISSING: left out by --limit"),
        ("ember", "ember", "no answer", ""),
    ]
    assert lines[0].split()[0] == "host"
