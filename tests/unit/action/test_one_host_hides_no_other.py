"""A host whose words begin a quotation, a key, a block or never end: all that is told of the others stays readable."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleUndefinedVariable
from ansible_collections.canvas.fleet.plugins.action import plan as plan_action
from ansible_collections.canvas.fleet.plugins.action import training_table
from ansible_collections.canvas.fleet.plugins.module_utils.core import shown
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.core.wire import to_dict
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import HostPlan, Plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.report import Report
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.table import row
from ansible_collections.canvas.fleet.plugins.plugin_utils import page

from tests.unit.support import actions

WORDS = {
    "a quotation": 'password = "',
    "another quotation": "token='",
    "a block": "token: |",
    "a key": "-----BEGIN PRIVATE KEY-----",
    "a line that goes on": "TOKEN=abcdefgh1\\",
    "a text without end": "x" * (1 << 20),
    "a text that grows when it is shown": "\x01" * (1 << 20),
}
READABLE = "the disk is full"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    out: list[str] = []
    monkeypatch.setattr(page.Display, "display", lambda self, text, *a, **k: out.append(text))
    return out


def host(name: str, found: str) -> HostPlan:
    said = Finding("HOST_UNREACHABLE", "error", name, found, "e", "b", "r", run=name)
    place = Topology(name, (name,), 0, 8, 4, name, 29501)
    return HostPlan(name, place, {"dataset": RolePlan((found,))}, (said,), "HOST_UNREACHABLE")


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_the_plan_tells_of_the_others(words: str, said: list[str], tmp_path: Path) -> None:
    made = actions.action(plan_action, iter(()), {})
    fleet = Plan({"a": host("a", words), "b": host("b", READABLE)})
    made._show(fleet, "plan")
    assert said[0].count(READABLE) >= 2, "among the reasons and the findings"
    made._write(fleet, str(tmp_path / "plan.json"))
    found = json.loads((tmp_path / "plan.json").read_text())["hosts"]["b"]["findings"]
    assert found[0]["found"] == READABLE


def table(variables: dict[str, Any], planned: dict[str, Any] | None = None) -> dict[str, Any]:
    good = shown.result({"row": to_dict(row(Report(run="r", phase="running"), "b"))})
    hostvars = {"a": variables, "b": {"__training_status": good}}
    made = actions.action(training_table, iter(()), {})
    made._task.args = {}
    given = {"groups": {"trainers": ["a", "b"]}, "hostvars": hostvars, "__fleet_plan": {"hosts": planned or {}}}
    result: dict[str, Any] = made.run(None, given)
    return result


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("place", ["its own answer", "the plan"])
def test_the_fleet_is_shown(words: str, place: str, said: list[str]) -> None:
    report = Report(run="r", phase="running", weights=words)
    answered = shown.result({"row": to_dict(row(report, "a"))}) if place != "the plan" else {}
    values = shown.result({"report": to_dict(report)})
    table(
        {"__training_status": answered},
        {"a": {"topology": {"node_rank": 0}, "roles": {"training": {"values": values}}}},
    )
    last = said[0].rstrip().splitlines()[-1]
    assert last.startswith("b  ")
    assert "running" in last
    assert len(last) < 400, "the columns stay as narrow as a person reads them"


def test_a_name_that_is_not_set_takes_no_line_from_the_others(said: list[str]) -> None:
    class Broken(SimpleNamespace):
        def get(self, name: str, otherwise: Any = None) -> Any:
            if name == "training_run":
                raise AnsibleUndefinedVariable("'nope' is undefined")
            return otherwise

    table(Broken())  # type: ignore[arg-type]
    assert [line.split()[0] for line in said[0].split("\n") if line.strip()] == ["host", "a", "b"]
