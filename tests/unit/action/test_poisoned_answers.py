"""A host's answer is data. Ansible obeys keys of a result, so that none but the declared ones may reach it."""

from __future__ import annotations

import ast
import json
import resource
from importlib import import_module
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils._internal._datatag import AnsibleTagHelper
from ansible.plugins import action as core
from ansible.vars import clean
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import asked
from ansible_collections.canvas.fleet.plugins.plugin_utils import answers
from ansible_collections.canvas.fleet.plugins.plugin_utils.jobs import JOBS

from tests.unit.support import actions, units
from tests.unit.support.places import ROOT

POISON: dict[str, Any] = {
    "add_host": {"host_name": "evil", "host_vars": {"ansible_ssh_common_args": "-o ProxyCommand=id"}},
    "add_group": "evil",
    "ansible_facts": {"ansible_python_interpreter": "/srv/evil"},
    "_ansible_delegated_vars": {},
    "_ansible_verbose_always": True,
    "deprecations": [{"msg": "x"}],
    "exception": "Traceback",
    "invocation": {"module_args": {}},
    "include_variables": "x",
}
SOUND: dict[str, Any] = {
    "changed": True,
    "observation": {"facts": {}},
    "work": {
        "phase": "ended",
        "unit": "canvas-work-weights",
        "now": 0.0,
        "digest": "d",
        "result": {"ok": True, "result": {**POISON, "changed": True, "revision": "r"}},
    },
    "offer": {},
    "seen": {"found": {"test_bytes": 1, "free": 10**12}},
    "news": {"phase": "stopped"},
    "training": {"phase": "stopped", "run": "r", "unit_state": {"active": "failed", "restarts": 0}},
}
PLAN = {"topology": actions.TOPOLOGY, "roles": {"run_config": {"values": {"texts": {}}}}}
HOME = "ansible_collections.canvas.fleet.plugins"
ACTIONS = sorted(path.stem for path in (ROOT / "plugins/action").glob("*.py") if path.stem != "__init__")
LOCAL = {"command_line", "export_push", "new_inventory", "plan", "training_table"}  # they ask no host
ANSIBLES = {"guarded"}  # asks by a module of Ansible, see test_guarded.py
ARGS: dict[str, dict[str, Any]] = {
    "host_work": {"worker": "weights"},
    "teardown": {"show": False},
    "evaluation_report": {"state": "if_there"},
}
SETTINGS: dict[str, Any] = {
    **{name: units.SETTINGS[name] for name in asked.NAMES},
    "evaluation_step": "base",
    "canvas_code_source": "git",
    "training_follow": False,
    "training_state": "queried",
    "training_restore_step": 40,
    "training_logs_lines": 20,
    "training_fetch": "logs",
    "training_fetch_step": -1,
    "training_fetch_dir": "/srv/fetched",
    "training_run": "atlas",
    "evaluation_dir": "/srv/results/evaluation",
    "evaluation_report_dir": "/srv/fetched/evaluation",
    "fleet_user": "canvas",
    "fleet_state_dir": "/var/lib/canvas-fleet",
    "fleet_ca_bundle": "",
    "fleet_agent_python": "/usr/bin/python3",
    "weights_dir": "/srv/weights",
    "weights_files": [],
    "dataset_train": "train.parquet",
    "dataset_test": "",
    "dataset_source": "git",
    **{f"dataset_{name}": f"/srv/data/{name}" for name in ("output_dir", "train_dir")},
    "dataset_train_file": "/srv/data/train_dir/train.parquet",
    "dataset_info_path": "/srv/code/data/dataset_info.py",
}


def action(name: str) -> Any:
    """The action of this name with a hostile host behind it."""
    plugin = import_module(f"{HOME}.action.{name}")
    made = actions.action(plugin, repeat({**SOUND, **POISON}), SETTINGS, **ARGS.get(name, {}))
    made._loader, made._connection.transport = SimpleNamespace(path_dwim=str), "ssh"
    return made


@pytest.mark.parametrize("name", [name for name in ACTIONS if name not in LOCAL | ANSIBLES])
def test_no_action_hands_on_what_ansible_would_obey(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(SETTINGS, "training_fetch_dir", str(tmp_path))
    made = action(name)
    result = actions.run(made, preflight_plan=PLAN)
    assert made.asked
    assert set(result) & set(POISON) == set()
    assert not result.get("failed"), "the declared part of the answer is sound"


def test_actions_ask_hosts_through_the_one_reader_of_answers() -> None:
    asking = set()
    for path in sorted([*(ROOT / "plugins/action").glob("*.py"), *(ROOT / "plugins/plugin_utils").glob("*.py")]):
        names = (node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute))
        if "_execute_module" in names:
            asking.add(path.name)
    assert asking == {"role_action.py"}


def test_each_module_that_an_action_asks_declares_its_answer() -> None:
    assert {*answers.MODULES, "training_follow"} == set(ACTIONS) - LOCAL


def test_each_job_declares_what_its_worker_returns() -> None:
    assert set(answers.WORKERS) == set(JOBS)


@pytest.mark.parametrize("module", sorted(answers.MODULES))
def test_a_module_answers_declared_keys_alone(module: str) -> None:
    assert set(answers.of_module(module, {**SOUND, **POISON})) <= {*answers.COMMON, *answers.MODULES[module]}


@pytest.mark.parametrize("worker", sorted(answers.WORKERS))
def test_a_workers_record_holds_declared_keys_alone(worker: str) -> None:
    assert answers.of_worker(worker, {**POISON, "changed": True, "failed": True}) == {"changed": True}


@pytest.mark.parametrize("result", [None, [], "x", {"revision": 3}, {"changed": "yes"}, {"bytes": "\ud800"}])
def test_a_record_of_other_types_fails_the_task(result: Any) -> None:
    told = answers.of_worker("weights", result)
    assert told["failed"]
    assert told["finding"]["code"] == "HOST_ANSWER_MALFORMED"


@pytest.mark.parametrize(
    ("module", "answer", "place"),
    [
        ("nvidia_host", {"work": {"packages": "x"}}, "nvidia_host.work.packages"),
        ("nvidia_host", {"work": {"files": [{"path": "/x"}]}}, "nvidia_host.work.files[0].data"),
        ("nvidia_host", {"work": {"wanted": "no"}}, "nvidia_host.work.wanted"),
        ("checkpoint_restore", {"moves": [1]}, "checkpoint_restore.moves[0]"),
        ("checkpoint_restore", {"resumes_from": "60"}, "checkpoint_restore.resumes_from"),
        ("training_unit", {"training": {"losses": {"ce": {"first": "x"}}}}, "training_unit.training.losses.'ce'"),
        ("training_unit", {"training": {"unit_state": {"restarts": True}}}, "training_unit.training.unit_state"),
    ],
)
def test_a_nested_answer_of_other_types_fails_the_task_at_its_place(module: str, answer: Any, place: str) -> None:
    told = answers.of_module(module, answer)
    assert (told["failed"], told["finding"]["code"]) == (True, "HOST_ANSWER_MALFORMED")
    assert told["finding"]["found"].startswith(place)


def test_a_host_names_no_role_of_its_own_for_inclusion() -> None:
    assert answers.of_module("teardown", {"roles": ["nvidia", "conda_env"]})["roles"] == ["nvidia", "conda_env"]
    assert "roles" not in answers.of_module("teardown", {"roles": ["../../evil"]})


NOISE = "\x1b]52;c;x\x07\x1b[2J\u202e"


@pytest.mark.parametrize(
    "stdout",
    [
        pytest.param(json.dumps({"changed": True, "add_host": NOISE, "_ansible_no_log": NOISE}), id="orders"),
        pytest.param(json.dumps({"changed": True, "warnings": [NOISE]}), id="warnings"),
        pytest.param(f'{NOISE}\n{{"changed": true}}\n{NOISE}', id="lines around the answer"),
        pytest.param('\r\n{"changed": true}\r\n', id="lines of a terminal"),
        pytest.param(f"{NOISE}", id="no answer"),
    ],
)
def test_ansible_shows_nothing_of_an_answer_as_it_came(stdout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for place in (clean.display, core.display):
        monkeypatch.setattr(place, "warning", said.append)
    made = actions.action(import_module(f"{HOME}.action.run_files"), repeat({}), SETTINGS)
    made._used_interpreter = None
    answer = actions.parsed(made, {"stdout": stdout, "stderr": NOISE, "rc": 0}, "modern")
    assert answer.get("changed", False) == ("changed" in stdout)
    shown = "".join([*said, *map(str, answer.values())])
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)


MARK = {"__ansible_type": "Deprecated", "msg": NOISE, "version": "9"}


def marked(kind: str, value: Any) -> dict[str, Any]:
    return {"__ansible_type": f"_AnsibleTagged{kind}", "value": value, "tags": [MARK]}


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        pytest.param({"rc": marked("Int", 5)}, {"rc": 5}, id="a number"),
        pytest.param({"observation": {"a": [marked("Float", 1.5)]}}, {"observation": {"a": [1.5]}}, id="within"),
        pytest.param({"msg": marked("Str", "x")}, {"msg": "x"}, id="a text"),
        pytest.param({"observation": marked("Dict", {"a": marked("Int", 1)})}, {"observation": {"a": 1}}, id="twice"),
        pytest.param({"observation": {"a": MARK}}, {"observation": {"a": {"msg": NOISE, "version": "9"}}}, id="a mark"),
        pytest.param({"rc": 5, **MARK}, {"rc": 5}, id="the whole answer"),
    ],
)
@pytest.mark.parametrize("profile", ["legacy", "modern"])
def test_no_value_of_a_host_carries_a_mark_that_ansible_would_show(given: Any, plain: Any, profile: str) -> None:
    """A mark holds words of the host. Ansible prints them raw when anything reads the value."""
    made = actions.action(import_module(f"{HOME}.action.host_info"), repeat({}), SETTINGS)
    made._used_interpreter = None
    answer = actions.parsed(made, {"stdout": json.dumps({"changed": False, **given}), "rc": 0}, profile)
    read = answers.of_module("host_info", answer)
    assert {key: read[key] for key in plain} == plain
    assert not any(AnsibleTagHelper.tags(one) for one in flat(read))


@pytest.mark.parametrize("key", ["exception", "warnings", "deprecations"])
@pytest.mark.parametrize("kind", ["ErrorSummary", "WarningSummary", "Deprecated", "_AnsibleTaggedStr", "NoSuchType"])
def test_a_broken_object_of_ansibles_is_a_malformed_answer(key: str, kind: str) -> None:
    made = action("host_info")
    made._used_interpreter = None
    broken: Any = {"__ansible_type": kind, "no_such_field": 1}
    stdout = json.dumps({"changed": False, key: broken if key == "exception" else [broken]})
    made._execute_module = lambda *_, **__: actions.parsed(made, {"stdout": stdout, "rc": 0}, "legacy")
    result = actions.run(made, preflight_plan=PLAN)
    assert not result.get("failed")
    assert {one["code"] for one in result["findings"]} <= {"HOST_ANSWER_MALFORMED"}


def flat(value: Any) -> list[Any]:
    """Each value that is in there."""
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value, *(one for each in inner for one in flat(each))]


def test_a_modules_warnings_cross_as_texts() -> None:
    warned = SimpleNamespace(event=SimpleNamespace(msg="kept as x"))
    assert answers.of_module("run_files", {"warnings": [warned, "plain", 3]})["warnings"] == ["kept as x", "plain"]


def test_the_interpreter_that_ansible_found_is_handed_on() -> None:
    made = action("nvidia_host")
    made._discovered_interpreter_key = "discovered_interpreter_python"
    made._discovered_interpreter = "/usr/bin/python3"
    assert actions.run(made)["ansible_facts"] == {"discovered_interpreter_python": "/usr/bin/python3"}


def test_an_error_that_a_module_did_not_expect_keeps_its_words() -> None:
    raised = SimpleNamespace(event=SimpleNamespace(msg="cannot import name 'x'"))
    assert answers.of_module("run_files", {"failed": True, "exception": raised})["msg"] == "cannot import name 'x'"


def endless(*_: Any) -> dict[str, Any]:
    text = b""
    while True:
        text += b"x" * (64 << 20)


@pytest.mark.parametrize(
    ("stdout", "found"),
    [
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "endless depth"),
        ('{"observation": ' + "[" * 70 + "]" * 70 + "}", "64 levels"),
        ("x" * (wire.WHOLE + 1), f"{wire.WHOLE + 1} characters"),
        (endless, "more than 128 MiB"),
    ],
    ids=["endless depth", "depth", "size", "without end"],
)
@pytest.mark.parametrize("name", ["host_info", "run_files", "guarded"])
def test_an_answer_costs_the_controller_little(name: str, stdout: Any, found: str, monkeypatch: Any) -> None:
    made = action(name) if name != "guarded" else guarded(monkeypatch)
    made._used_interpreter, limit = None, resource.getrlimit(resource.RLIMIT_AS)

    def execute(*_: Any, **__: Any) -> dict[str, Any]:
        return endless() if stdout is endless else actions.parsed(made, {"stdout": stdout}, "legacy")

    made._execute_module = execute
    result = actions.run(made, preflight_plan=PLAN)
    told = result["findings"][0] if name == "host_info" else result["finding"]
    assert told["code"] == "HOST_ANSWER_MALFORMED"
    assert found in told["found"]
    assert resource.getrlimit(resource.RLIMIT_AS) == limit


def guarded(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ansible's own module, whose answer the action reads."""
    plugin = import_module(f"{HOME}.action.guarded")
    made = actions.action(plugin, repeat({}), SETTINGS, module="x", args={})
    own = SimpleNamespace(run=lambda task_vars: made._execute_module(), cleanup=lambda: None)
    made._task.copy = lambda: made._task
    monkeypatch.setattr(plugin, "action_loader", SimpleNamespace(get=lambda *_, **__: own))
    return made
