"""A run with more hosts than Ansible has forks: the first step of each needs all. A real play with a stub module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.support.places import ROOT

CHECKOUT = ROOT
HOSTS = ("n1", "n2", "n3")
MODULE = """#!/usr/bin/python
# WANT_JSON: a unit that makes its first step when those of all hosts were started
import json, os, sys
asked = json.load(open(sys.argv[1]))
settings, state = asked["settings"], asked["state"]
folder, unit = settings["training_results_dir"], settings["training_unit"]
open(f"{folder}/{unit}.asked", "a").write(f"{state}\\n")
steps = ["start"] if state == "started" and not os.path.exists(f"{folder}/{unit}") else []
if steps:
    open(f"{folder}/{unit}", "w")
together = sum("." not in name for name in os.listdir(folder)) == 3
shown = {"active": "active" if together else "activating", "restarts": 0}
training = {"unit": unit, "phase": "running", "unit_state": shown, "supervisor": {}}
print(json.dumps({"changed": bool(steps), "steps": steps, "training": training, "findings": [],
                  "waiting": "start" if steps else ""}))
"""


@pytest.fixture
def play(tmp_path: Path) -> Path:
    """A playbook with the role, in a collection whose module training_unit is the stub."""
    fleet = tmp_path / "collections/ansible_collections/canvas/fleet"
    (fleet / "plugins/modules").mkdir(parents=True)
    for name in ("galaxy.yml", "meta", "roles", *(f"plugins/{part}" for part in ("action", "lookup", "module_utils"))):
        (fleet / name).symlink_to(CHECKOUT / name)
    (fleet / "plugins/plugin_utils").symlink_to(CHECKOUT / "plugins/plugin_utils")
    (fleet / "plugins/modules/training_unit.py").write_text(MODULE)
    (tmp_path / "units").mkdir()
    told = [{
        "hosts": "all", "gather_facts": False, "connection": "local",
        "vars_files": [str(CHECKOUT / "molecule/training/vars/main.yml")],
        "vars": {"ansible_python_interpreter": sys.executable},
        "roles": ["canvas.fleet.training"],
    }]  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps(told))
    return tmp_path / "play.yml"


def played(play: Path) -> dict[str, dict[str, str]]:
    """The recap."""
    units = play.parent / "units"
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-playbook",
            "-f",
            "2",
            "-i",
            ",".join(HOSTS),
            play,
            "-e",
            f"training_results_dir={units}",
        ],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")},
            "ANSIBLE_COLLECTIONS_PATH": str(play.parent / "collections"),
            "ANSIBLE_CONFIG": "",
        },
        cwd=play.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    words = (line.split() for line in done.stdout.partition("PLAY RECAP")[2].splitlines() if " : " in line)
    return {host: dict(word.split("=") for word in told if "=" in word) for host, *told in words}


def test_all_hosts_are_started_before_any_is_waited_for(play: Path) -> None:
    assert {host: told["changed"] for host, told in played(play).items()} == dict.fromkeys(HOSTS, "1")
    again = played(play).values()
    assert {(told["changed"], told["skipped"]) for told in again} == {("0", "1")}, "no second trip where all runs"
    asked = (play.parent / "units/canvas-training-n3.asked").read_text().split()
    assert asked == ["started", "queried", "started"]
