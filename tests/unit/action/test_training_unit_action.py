"""The controller's side of a start and a stop: both take time, and the host is asked until they are over."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.canvas.fleet.plugins.action import training_unit
from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import is_secret
from ansible_collections.canvas.fleet.plugins.plugin_utils.run_secret import secret_of

from tests.unit.support import actions
from tests.unit.support.units import SETTINGS, want


def answer(active: str, phase: str, waiting: str = "", steps: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    training = {
        "unit": "canvas-training-atlas",
        "run": "atlas",
        "phase": phase,
        "unit_state": {"active": active, "restarts": more.pop("restarts", 0)},
        "supervisor": {"status": more.pop("status", "")},
        "failure": more.pop("failure", None),
    }
    return {"changed": bool(steps), "training": training, "steps": list(steps), "waiting": waiting, "diff": [], **more}


def run(answers: Iterator[Any], state: str, check: bool = False) -> tuple[dict[str, Any], list[str]]:
    """The plugin's result with a host that gives these answers, and which states it was asked for."""
    given = {} if state == "started" else {"state": state}
    settings = {**SETTINGS, "training_state": "started", "fleet_reconnect_timeout": 8}
    made = actions.action(training_unit, answers, settings, check, **given)
    return actions.run(made), [asked["state"] for asked in made.asked]


WAITS = answer("activating", "running", status="loads, at most 60 min")
RUNS = answer("active", "running")
FAILURE = {"kind": "GPU_OUT_OF_MEMORY", "line": "CUDA out of memory", "lines": ["a", "CUDA out of memory"]}


def test_what_is_done_at_once_costs_one_call(shown: list[str]) -> None:
    result, asked = run(iter([answer("active", "running")]), "started")
    assert asked == ["started"]
    assert (result["changed"], result["steps"], shown) == (False, [], [])


@pytest.mark.parametrize(
    ("state", "texts"),
    [
        *((state, asdict(want().texts)) for state in ("started", "restarted", "present", "stopped")),
        *((state, {}) for state in ("absent", "queried")),
    ],
)
def test_the_host_gets_the_units_texts_from_here_where_it_compares_or_writes_them(
    shown: list[str], state: str, texts: dict[str, str]
) -> None:
    made = actions.action(training_unit, iter([RUNS]), {**SETTINGS, "fleet_reconnect_timeout": 8}, False, state=state)
    actions.run(made)
    assert [asked["texts"] for asked in made.asked] == [texts]


def test_a_name_that_a_unit_cannot_have_is_refused_before_the_host_is_asked(shown: list[str]) -> None:
    settings = {**SETTINGS, "training_unit": "a b", "fleet_reconnect_timeout": 8}
    made = actions.action(training_unit, iter([]), settings, False, state="started")
    result = actions.run(made)
    assert (result["failed"], made.asked) == (True, [])
    assert "letters, digits" in result["msg"]


def test_a_start_is_not_waited_for_by_the_task_that_begins_it(shown: list[str]) -> None:
    """Its first step needs all hosts of the run, and Ansible may have fewer forks than those."""
    result, asked = run(iter([answer("activating", "running", "start", ("write", "start"))]), "started")
    assert asked == ["started"]
    assert (result["changed"], result["steps"], result["waiting"]) == (True, ["write", "start"], "start")


def test_a_start_is_waited_for_until_its_first_step(shown: list[str]) -> None:
    result, asked = run(iter([*[WAITS] * 7, RUNS]), "awaited")
    assert asked == ["queried"] * 8
    assert (result["changed"], result["steps"], result["waiting"]) == (False, [], "")
    assert "failed" not in result
    assert shown == ["  atlas  loads, at most 60 min"], "a line when something is new, not one for each look"


def test_a_dry_run_waits_for_nothing(shown: list[str]) -> None:
    _, asked = run(iter([WAITS]), "awaited", check=True)
    assert asked == ["awaited"]


@pytest.mark.parametrize(
    ("last", "again"),
    [
        (answer("failed", "failed", failure=FAILURE), False),
        (answer("activating", "restarting", failure=FAILURE), True),
        (answer("activating", "running", failure=FAILURE, restarts=1), True),
    ],
)
def test_a_start_that_fails_is_an_error_with_class_and_lines(
    shown: list[str], last: dict[str, Any], again: bool
) -> None:
    result, _ = run(iter([WAITS, answer("deactivating", "stopping"), last]), "awaited")
    assert result["failed"]
    assert "failed to start (GPU_OUT_OF_MEMORY)" in result["msg"]
    assert result["msg"].endswith("\n  a\n  CUDA out of memory")
    assert ("it is tried again" in result["msg"]) == again


def test_a_run_that_ends_before_it_was_asked_again_is_no_failure(shown: list[str]) -> None:
    result, _ = run(iter([answer("inactive", "finished")]), "awaited")
    assert "failed" not in result


def test_a_stop_waits_for_the_save_and_a_restart_goes_on_from_there(shown: list[str]) -> None:
    stopping = answer("deactivating", "stopping", status="stops after the next save, in about 12 s")
    answers = [
        answer("deactivating", "stopping", "stop", ("stop",)),
        stopping,
        answer("inactive", "stopped"),
        answer("activating", "running", "start", ("start",)),
    ]
    result, asked = run(iter(answers), "restarted")
    assert asked == ["restarted", "queried", "queried", "restarted"]
    assert result["steps"] == ["stop", "start"]
    assert shown == ["  atlas  stops after the next save, in about 12 s"]


def test_a_lost_connection_is_got_over_while_it_waits(shown: list[str]) -> None:
    result, _ = run(iter([WAITS, AnsibleConnectionFailure("timed out"), RUNS]), "awaited")
    assert "failed" not in result
    assert any("no connection" in line for line in shown)


def test_a_module_that_breaks_while_it_waits_is_told_in_its_words(shown: list[str]) -> None:
    result, _ = run(iter([{"failed": True, "msg": "no python"}]), "awaited")
    assert (result["failed"], result["msg"]) == (True, "no python")


# the secret of a run


def handed(
    monkeypatch: pytest.MonkeyPatch, folder: Any, run: str, state: str = "started", needed: bool = True
) -> tuple[Any, str]:
    """What a host's module is given, and the result."""
    monkeypatch.setattr(training_unit.constants, "DEFAULT_LOCAL_TMP", str(folder))
    made = actions.action(training_unit, iter([RUNS]), {**SETTINGS, "training_state": state, "training_run": run})
    result = actions.run(made, preflight_plan={"topology": {**actions.TOPOLOGY, "new_secret": needed}})
    return made.asked[0]["peer_secret"], str(result)


def test_the_hosts_of_a_run_are_handed_one_secret(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each host's task is a process of its own, so that they meet in a folder."""
    first, told = handed(monkeypatch, tmp_path, "bolt")
    second, _ = handed(monkeypatch, tmp_path, "bolt")
    other, _ = handed(monkeypatch, tmp_path, "atlas")
    assert first == second != other
    assert is_secret(first)
    assert is_secret(other)
    assert first not in told
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert len(list(tmp_path.iterdir())) == 2


def test_the_next_play_draws_another(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    assert len({handed(monkeypatch, folder, "bolt")[0] for folder in folders}) == 2


@pytest.mark.parametrize("arguments", [{"needed": False}, {"state": "absent"}, {"state": "queried"}])
def test_a_host_that_needs_none_is_handed_none(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]
) -> None:
    assert handed(monkeypatch, tmp_path, "bolt", **arguments)[0] == ""
    assert not list(tmp_path.iterdir())


def test_who_comes_first_has_drawn_it(tmp_path: Any) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: secret_of("bolt", str(tmp_path)), range(200)))) == 1
