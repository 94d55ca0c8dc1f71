"""The line under the fleet table: where the model of a finished run is, and how it comes home."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action import training_table
from ansible_collections.canvas.fleet.plugins.plugin_utils import calls, page

from tests.unit.support import actions

FOUND = {"path": "/srv/atlas/checkpoints/0000060/model.safetensors", "why": "no average", "fetch": "model"}
LINE = "the model: /srv/atlas/checkpoints/0000060/model.safetensors\n  no average; it comes home by:\n"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(page.Display, "display", lambda self, text, **kinds: found.append(text))
    monkeypatch.setitem(training_table.context.CLIARGS._store, "inventory", ("inventory/mine",))
    return found


def told(states: dict[str, str]) -> dict[str, Any]:
    """The result of the task, for hosts in these states of the plan."""
    task = SimpleNamespace(args={}, check_mode=False, async_val=0, collections=None)
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
    made: Any = training_table.ActionModule(task, connection, SimpleNamespace(), None, None, None)
    plans = {name: {"topology": actions.TOPOLOGY, "roles": {}, "state": state} for name, state in states.items()}
    variables = {"groups": {"trainers": [*states]}, "hostvars": {name: {} for name in states}}
    result: dict[str, Any] = made.run(task_vars={**variables, "__fleet_plan": {"hosts": plans}})
    return result


def test_a_look_at_hosts_of_which_none_answers_is_no_success(lines: list[str]) -> None:
    silent = told({"a": "no answer", "b": "not asked"})
    assert (silent["failed"], silent["msg"]) == (True, "No host answered. The lines above say why.")
    assert not told({"a": "no answer", "b": "judged"}).get("failed")


def shown(lines: list[str], answer: Any = None, planned: Any = None) -> str:
    task = SimpleNamespace(args={}, check_mode=False, async_val=0, collections=None)
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
    made: Any = training_table.ActionModule(task, connection, SimpleNamespace(), None, None, None)
    values = {"report": {"run": "atlas", "phase": "finished"}, "result": planned}
    plan = {"topology": actions.TOPOLOGY, "roles": {"training": {"values": values}}}
    made.run(task_vars={
        "groups": {"trainers": ["atlas"]},
        "hostvars": {"atlas": {"__training_status": answer} if answer else {}},
        "__fleet_plan": {"hosts": {"atlas": plan}},
    })  # fmt: skip
    return "".join(lines)


@pytest.mark.parametrize("answer", [None, {"result": FOUND}], ids=["as the plan saw it", "as it was followed"])
def test_it_names_the_file_and_the_command(lines: list[str], answer: Any) -> None:
    text = shown(lines, answer, FOUND)
    assert LINE in text, "the command stands alone in its line, to be copied"
    assert "ansible-playbook -i inventory/mine playbooks/fetch.yml --limit atlas -e training_fetch=model" in text


@pytest.mark.parametrize(
    ("answer", "planned"),
    [
        pytest.param(None, None, id="before the end"),
        pytest.param({"msg": "timed out"}, FOUND, id="a host that did not answer now"),
        pytest.param({"result": {"path": 5}}, FOUND, id="an answer of another form"),
    ],
)
def test_there_is_no_line(lines: list[str], answer: Any, planned: Any) -> None:
    assert "the model:" not in shown(lines, answer, planned)


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        pytest.param(("{here}/inventory/mine",), "-i inventory/mine", id="below this folder"),
        pytest.param(("/etc/my fleet",), "-i '/etc/my fleet'", id="elsewhere, with a blank"),
        pytest.param(("one,two",), "-i one,two", id="a list of hosts"),
        pytest.param((), "-i …", id="ansible.cfg has it"),
    ],
)
def test_the_inventory_is_told_as_one_types_it(given: tuple[str, ...], typed: str) -> None:
    assert calls.inventories(tuple(one.format(here=Path.cwd()) for one in given)) == typed


def test_without_a_checkout_the_command_has_the_name_of_the_collection(
    lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "inventory/mine canvas.fleet.fetch --limit atlas" in shown(lines, None, FOUND)
