"""What the plan makes of hosts that were not observed, and of files on the controller."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.action import plan as plan_action
from ansible_collections.canvas.fleet.plugins.action.plan import decide_dataset, lost, reached_at
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import Plan
from ansible_collections.canvas.fleet.plugins.plugin_utils import page

from tests.unit.support import actions
from tests.unit.support import dataset_files as files


@pytest.mark.parametrize(
    ("result", "in_play", "code"),
    [
        pytest.param({"unreachable": True, "msg": "timed out"}, True, "HOST_UNREACHABLE", id="nobody answers"),
        pytest.param({}, False, "HOST_MISSING", id="left out by --limit"),
        pytest.param({"observation": {}}, False, "HOST_MISSING", id="lost after it was observed earlier in the play"),
        pytest.param(
            {"failed": True, "msg": "could not find matching plugin: 'doas'"},
            False,
            "BECOME_PROGRAM_MISSING",
            id="a task that failed for Ansible itself",
        ),
        pytest.param({"observation": {}}, True, None, id="observed"),
    ],
)
def test_why_a_host_was_not_observed(result: dict[str, Any], in_play: bool, code: str | None) -> None:
    found = lost(result, in_play)
    assert (found.code if found else None) == code


@pytest.mark.parametrize(
    ("change", "code", "variable"),
    [
        pytest.param({"dataset_train": "/nowhere/a.parquet"}, "DATASET_MISSING", "dataset_train", id="no such file"),
        pytest.param(
            {"dataset_train_sha256": "a" * 64}, "DATASET_DIGEST_WRONG", "dataset_train_sha256", id="another file"
        ),
    ],
)
def test_what_is_wrong_with_the_controllers_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], code: str, variable: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    told = {**files.settings(tmp_path / "host", files.write(tmp_path / "a.parquet", [files.row(0)])), **change}
    made = decide_dataset({}, told, files.topology())
    assert [(found.code, found.variable) for found in made.findings] == [(code, variable)]


def test_a_host_that_was_left_out_differs_from_one_that_was_lost() -> None:
    texts = [found.found for limited in (True, False) if (found := lost({}, in_play=False, limited=limited))]
    assert texts == ["left out by --limit", "lost or failed earlier in this play"]


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"ansible_host": "10.0.0.1"}, "10.0.0.1:22"),
        ({"ansible_host": "10.0.0.1", "ansible_port": 2222}, "10.0.0.1:2222"),
        ({"ansible_port": 2222}, ""),
        ({}, ""),
    ],
)
def test_where_a_host_is_reached(variables: dict[str, Any], place: str) -> None:
    assert reached_at(variables, lambda value: value) == place


def test_the_plan_goes_to_a_file_of_the_folder_where_ansible_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page.Display, "display", lambda self, text, **kinds: said.append(text))
    made = actions.action(plan_action, iter(()), {})
    made._write(Plan({}), "fleet-plan.json")
    assert json.loads((tmp_path / "fleet-plan.json").read_text())["hosts"] == {}
    assert said[0].strip() == f"The plan as JSON: {tmp_path}/fleet-plan.json"
    with pytest.raises(FleetError) as raised:
        made._write(Plan({}), "no/such/folder.json")
    assert (raised.value.variable, str(tmp_path / "no/such/folder.json") in raised.value.found) == (
        "fleet_plan_file",
        True,
    )


@pytest.mark.parametrize(("variables", "own"), [({}, False), ({"run_config_lr": 1e-5}, True)], ids=["unset", "written"])
def test_a_learning_rate_in_the_inventory_is_the_users(variables: dict[str, Any], own: bool) -> None:
    made = actions.action(plan_action, iter([]), {})
    made._templar = SimpleNamespace(template=lambda value: value)
    answer = {"settings": {"training_run": "r", "run_config_lr": 1e-5}}
    assert made._host("h", {"seen": answer, **variables}, "seen", True, False).own_rate is own
