"""The controller's side of long work: waiting, lost connections, and the report at the end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.canvas.fleet.plugins.action import host_work

from tests.unit.support import actions

LOST = AnsibleConnectionFailure("timed out")


def answer(phase: str, **more: Any) -> dict[str, Any]:
    work = {"phase": phase, "progress": {"done": 5, "total": 10, "unit": "B", "what": "f"}, "now": 0.0, "unit": "u"}
    return {"work": {**work, "digest": "d", "log": [], **more}}


def ended(**result: Any) -> dict[str, Any]:
    return answer("ended", result={"ok": True, "result": {"changed": True, **result}})


SETTINGS = {
    "fleet_state_dir": "/s",
    "fleet_user": "blockmoving",
    "fleet_agent_python": "/s/agent/bin/python",
    "fleet_ca_bundle": "",
    "weights_dir": "/srv/model",
    "weights_repo": "a/b",
    "weights_token": "sha256:1",
    "training_run": "atlas",
}


@pytest.fixture
def clock() -> actions.Clock:
    return actions.Clock()


def action(clock: actions.Clock, answers: Iterator[Any], check: bool = False, retry: int = 60, **arguments: Any) -> Any:
    """The plugin with a host that gives these answers; an exception among them is raised."""
    settings = {**SETTINGS, "fleet_reconnect_timeout": retry}
    made = actions.action(host_work, answers, settings, check, worker="weights", **arguments)
    made.clock = clock
    made.secret = lambda name: "s3cr3t"
    return made


def run(made: Any) -> dict[str, Any]:
    return actions.run(made)


def test_the_workers_result_is_the_tasks_result(clock: actions.Clock, shown: list[str]) -> None:
    made = action(clock, iter([answer("running"), answer("running"), ended(bytes=3)]))
    assert run(made) == {"changed": True, "bytes": 3}
    assert [given.get("state", "started") for given in made.asked] == ["started", "polled", "polled"]
    assert shown == []


def test_polls_carry_no_secret_and_name_the_work_they_wait_for(clock: actions.Clock) -> None:
    made = action(clock, iter([answer("running"), ended()]))
    run(made)
    assert "s3cr3t" not in str(made.asked[1])
    assert made.asked[1]["digest"] == "d"


def test_the_work_gets_the_logins_of_its_own_servers_alone(clock: actions.Clock) -> None:
    more = {"fleet_agent_base_python": "/usr/bin/python3", "fleet_pip_find_links": ""}
    more |= {"fleet_pip_index_url": "https://pypi.example.org/simple", "canvas_code_repo": "https://git.example.org/c"}
    made = actions.action(host_work, iter([ended(done=[])]), {**SETTINGS, **more}, worker="fleet_agent")
    made.secret = lambda name: {"pypi.example.org": "me:pass-word", "git.example.org": "t0ken"}
    actions.run(made)
    assert made.asked[0]["secrets"] == {"fleet_credentials": {"pypi.example.org": "me:pass-word"}}


def test_a_work_without_end_is_left_to_itself(clock: actions.Clock) -> None:
    made = action(clock, repeat(answer("running")))
    result = actions.run(made)
    assert result["failed"]
    assert (result["finding"]["variable"], clock.now < 100 + 3600 + 60) == ("fleet_work_timeout", True)
    assert "within 1.0 h" in result["msg"]
    assert "goes on" in result["msg"]


def test_the_work_is_told_its_own_settings_and_its_secrets_apart(clock: actions.Clock) -> None:
    """Another variable's change must not stop a download that goes on."""
    made = action(clock, iter([ended()]))
    run(made)
    order = made.asked[0]
    assert order["spec"] == {"fleet_state_dir": "/s", "weights_dir": "/srv/model", "weights_repo": "a/b"}
    assert order["secrets"] == {"weights_token": "s3cr3t"}
    assert (order["user"], order["folders"]) == ("blockmoving", ["/srv/model"])


def test_long_work_shows_a_line_every_ten_seconds(clock: actions.Clock, shown: list[str]) -> None:
    run(action(clock, iter([*[answer("running")] * 15, ended()])))
    assert len(shown) == pytest.approx((clock.now - 100.0) / 10, abs=1)
    assert shown[0] == "  atlas  weights  5 B/10 B  f"


@pytest.mark.parametrize("state", ["polled", "absent"])
def test_other_states_are_one_call(clock: actions.Clock, state: str) -> None:
    made = action(clock, iter([{"changed": False}]), state=state)
    assert run(made) == {"changed": False}


def test_check_mode_is_one_call(clock: actions.Clock) -> None:
    made = action(clock, iter([{"changed": True, "would": ["x"]}]), check=True)
    assert run(made)["would"] == ["x"]


def test_a_connection_that_comes_back_in_time_is_no_failure(clock: actions.Clock, shown: list[str]) -> None:
    made = action(clock, iter([answer("running"), LOST, LOST, LOST, answer("running"), LOST, ended()]), retry=10)
    assert run(made)["changed"] is True
    assert [line for line in shown if "no connection" in line] == [
        "  atlas  weights  no connection; tries for 10 s"
    ] * 2


def test_a_start_whose_answer_was_lost_is_asked_for_with_the_same_ticket(clock: actions.Clock) -> None:
    made = action(clock, iter([LOST, ended()]))
    run(made)
    assert made.asked[0]["request_id"] == made.asked[1]["request_id"] != ""


def test_a_connection_that_stays_away_makes_the_host_unreachable(clock: actions.Clock) -> None:
    made = action(clock, iter([answer("running"), *[LOST] * 50]), retry=10)
    with pytest.raises(AnsibleConnectionFailure, match="next converge attaches"):
        run(made)
    assert 10 <= clock.now - 100 <= 15


def test_a_changed_host_key_is_not_waited_for(clock: actions.Clock) -> None:
    changed = AnsibleConnectionFailure("Failed to connect via ssh: Host key verification failed.")
    with pytest.raises(AnsibleConnectionFailure, match="Host key verification"):
        run(action(clock, iter([changed])))
    assert clock.now == 100.0


@pytest.mark.parametrize(
    ("last", "told"),
    [
        pytest.param(
            answer("ended", result={"ok": False, "unexpected": False, "error": {"message": "m", "found": "f"}}),
            "m; found: f",
            id="what a user can mend comes without a log",
        ),
        pytest.param(
            answer("ended", result={"ok": False, "unexpected": True, "error": {"message": "E: x"}}, log=["Traceback"]),
            "E: x\nlast lines of its log:\n  Traceback",
            id="what nobody foresaw comes with its log",
        ),
        pytest.param(
            answer("killed", unit_result="oom-kill"),
            "the work weights did not finish; found: its unit u ended without a result (oom-kill); remedy: "
            "run the converge again; it continues where it was cut",
            id="killed",
        ),
        pytest.param(
            answer("replaced"),
            "the work weights was taken over; found: another controller started other work under this name",
            id="replaced",
        ),
    ],
)
def test_a_failure_is_one_message(clock: actions.Clock, last: dict[str, Any], told: str) -> None:
    result = run(action(clock, iter([answer("running"), last])))
    assert (result["failed"], result["msg"]) == (True, told)


def test_a_module_that_failed_is_handed_on(clock: actions.Clock) -> None:
    failed = {"failed": True, "msg": "no such user"}
    assert run(action(clock, iter([failed]))) == failed
    assert run(action(clock, iter([answer("running"), failed]))) == failed


@pytest.mark.parametrize(
    "work",
    [
        pytest.param({"phase": "ended", "result": {"ok": "yes"}}, id="a result that is no result"),
        pytest.param({"phase": "ended", "result": {"ok": False, "error": [1]}}, id="an error that is no error"),
        pytest.param({"phase": "odd"}, id="an unknown phase"),
        pytest.param({"progress": {"done": "x"}}, id="progress in words"),
        pytest.param({"progress": {"samples": [[0.0]]}}, id="a sample without a count"),
        pytest.param({"now": float("inf")}, id="a clock beyond time"),
        pytest.param({"log": "x" * 10}, id="a log that is no list"),
    ],
)
def test_a_work_that_answers_nonsense_fails_by_name(clock: actions.Clock, work: dict[str, Any]) -> None:
    """The account that a work runs as writes its progress and its result."""
    broken = answer("running")
    broken["work"].update(work)
    result = run(action(clock, iter([broken])))
    assert (result["failed"], result["finding"]["code"]) == (True, "HOST_ANSWER_MALFORMED")
