"""Ansible's own modules ask hosts, too. Ansible itself obeys the facts of an answer and prints its warnings."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible import constants
from ansible_collections.canvas.fleet.plugins.action import plan as plan_action
from ansible_collections.canvas.fleet.plugins.action import run_files

from tests.unit.support import actions
from tests.unit.support.places import ROOT

ON_THE_CONTROLLER = {"assert", "debug", "fail", "meta", "pause", "set_fact", "include_role", "include_tasks",
                     "import_role", "import_tasks", "import_playbook"}  # fmt: skip
NOISE = "\x1b]52;c;eA==\x07\x1b[2J"
ANSWER = {
    "changed": True,
    "stat": {"exists": False},
    "ansible_facts": {"training_run": "victim", "canvas_code_controller_path": "/root"},
    "warnings": [NOISE],
    "deprecations": [{"msg": NOISE, "version": "9"}],
    "diff": [{"before": NOISE}],
}


def test_roles_ask_hosts_by_actions_of_the_collection_alone() -> None:
    asked = set()
    for path in [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/**/*.yml")]:
        asked |= set(re.findall(r"^\s*(?:- )?ansible\.builtin\.(\w+):", path.read_text(), re.MULTILINE))
    assert asked <= ON_THE_CONTROLLER


def played(folder: Path, python: str, *tasks: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    host = {"ansible_connection": "local", "ansible_python_interpreter": python}
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [*tasks]}]))
    return ansible(folder, {"all": {"hosts": {"atlas": host}}}, "play.yml")


def ansible(folder: Path, inventory: dict[str, Any], play: str) -> subprocess.CompletedProcess[str]:
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    program = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", play]
    collections = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_INJECT_FACT_VARS": "True"}
    return subprocess.run(
        program, cwd=folder, env={**os.environ, **collections}, capture_output=True, text=True, check=False
    )


def guarded(module: str, **args: Any) -> dict[str, Any]:
    return {"canvas.fleet.guarded": {"module": module, "args": args}}


def test_nothing_of_an_answer_is_obeyed_or_printed_as_it_came(tmp_path: Path) -> None:
    evil = tmp_path / "python3"
    evil.write_text(f"#!/bin/sh\ncat >/dev/null\ncat <<'END'\n{json.dumps(ANSWER)}\nEND\n")
    evil.chmod(0o755)
    copy = guarded("ansible.builtin.copy", src=str(tmp_path / "hosts.yml"), dest=str(tmp_path / "to"), mode="0644")
    remove = guarded("ansible.builtin.file", path=str(tmp_path / "to"), state="absent")
    told = played(tmp_path, str(evil), copy, remove, {"ansible.builtin.debug": {"var": "ansible_facts"}})
    assert told.returncode == 0, told.stdout
    assert told.stdout.count("changed: [atlas]") == 2
    assert "victim" not in told.stdout
    assert not {"\x1b", "\x07"} & {*told.stdout, *told.stderr}


def test_it_does_what_the_module_does(tmp_path: Path) -> None:
    copy = guarded("ansible.builtin.copy", src=str(tmp_path / "hosts.yml"), dest=str(tmp_path / "to"), mode="0640")
    told = played(tmp_path, sys.executable, copy, copy)
    assert (told.stdout.count("changed: [atlas]"), told.stdout.count("ok: [atlas]")) == (1, 1), told.stdout
    assert (tmp_path / "to").read_text() == (tmp_path / "hosts.yml").read_text()
    assert (tmp_path / "to").stat().st_mode & 0o777 == 0o640


def test_a_connection_that_is_set_wrongly_stops_its_host_alone(tmp_path: Path) -> None:
    """The first host of the inventory, as a secret that is not in the vault, or a typing error."""
    odd = ("host", "port", "user", "connection", "timeout", "become", "become_user", "become_password", "become_flags")
    broken = {f"ansible_{name}": "{{ nope }}" for name in odd}
    inventory = {"trainers": {"hosts": {"atlas": broken, "helios": {}}}}
    told = ansible(tmp_path, inventory, str(ROOT / "playbooks/plays/command_line.yml"))
    assert (told.returncode, "failed=1" in told.stdout) == (0, False), told.stdout


@pytest.fixture
def injected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "INJECT_FACTS_AS_VARS", True)


FACTS = {"canvas_code_controller_path": "/root", "training_run": "victim", "preflight_plan": {}, "distribution": "x"}


@pytest.mark.usefixtures("injected")
def test_a_host_gives_itself_no_setting() -> None:
    made = actions.action(run_files, iter(()), {})
    del made._resolved
    made._template = lambda value: value
    made.variables = {**FACTS, "inventory_hostname": "atlas", "ansible_facts": FACTS}
    settings, found = made._resolved()
    assert settings.get("canvas_code_controller_path") != "/root"
    assert settings.get("training_run") != "victim"
    refused = {one.variable for one in found if one.refuses and "facts" in one.found}
    assert refused == {"canvas_code_controller_path", "preflight_plan", "training_run"}


@pytest.mark.usefixtures("injected")
def test_a_host_puts_itself_into_no_run_of_others() -> None:
    made = actions.action(plan_action, iter(()), {})
    assert made._run({"training_run": "victim", "ansible_facts": FACTS}, "atlas") == "atlas"
