"""The controller's side of long work: waiting, lost connections, and what is told at the end."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.canvas.fleet.plugins.action import host_work

LOST = AnsibleConnectionFailure("timed out")


def answer(phase: str, **more: Any) -> dict[str, Any]:
    work = {"phase": phase, "progress": {"done": 5, "total": 10, "unit": "B", "what": "f"}, "now": 0.0, "unit": "u"}
    return {"work": {**work, "digest": "d", "log": [], **more}}


def ended(**result: Any) -> dict[str, Any]:
    return answer("ended", result={"ok": True, "result": {"changed": True, **result}})


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        assert seconds <= 5.0, "a poll is never far away"
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(host_work, "time", made)
    return made


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(host_work.display, "display", lines.append)
    return lines


def action(answers: Iterator[Any], check: bool = False, **arguments: Any) -> Any:
    """The plugin with a host that gives these answers; an exception among them is raised."""
    task = SimpleNamespace(args={"worker": "weights", **arguments}, check_mode=check, async_val=0, collections=None)
    connection = SimpleNamespace(reset=lambda: None, _shell=SimpleNamespace(tmpdir=None))
    templar = SimpleNamespace(template=lambda value: value)
    made: Any = host_work.ActionModule(task, connection, SimpleNamespace(), None, templar, None)
    made.asked = []

    def module(given: dict[str, Any]) -> dict[str, Any]:
        made.asked.append(given)
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return dict(found)

    made._module = module
    return made


def run(made: Any, **variables: Any) -> dict[str, Any]:
    result: dict[str, Any] = made.run(None, {"inventory_hostname": "atlas", **variables})
    return result


def test_the_workers_result_is_the_tasks_result(clock: Clock, shown: list[str]) -> None:
    made = action(iter([answer("running"), answer("running"), ended(n=3)]))
    assert run(made) == {"changed": True, "n": 3}
    assert [given.get("state", "started") for given in made.asked] == ["started", "polled", "polled"]
    assert shown == []


def test_polls_carry_no_secret_and_name_the_work_they_wait_for(clock: Clock) -> None:
    made = action(iter([answer("running"), ended()]), secrets={"token": "s3cr3t"}, environment={"P": "s3cr3t"})
    run(made)
    assert "s3cr3t" not in str(made.asked[1])
    assert made.asked[1]["digest"] == "d"


def test_long_work_shows_a_line_every_ten_seconds(clock: Clock, shown: list[str]) -> None:
    run(action(iter([*[answer("running")] * 15, ended()])))
    assert len(shown) == pytest.approx((clock.now - 100.0) / 10, abs=1)
    assert shown[0] == "  atlas  weights  5 B/10 B  f"


@pytest.mark.parametrize("state", ["polled", "absent"])
def test_other_states_are_one_call(clock: Clock, state: str) -> None:
    made = action(iter([{"changed": False}]), state=state)
    assert run(made) == {"changed": False}


def test_check_mode_is_one_call(clock: Clock) -> None:
    made = action(iter([{"changed": True, "would": ["x"]}]), check=True)
    assert run(made)["would"] == ["x"]


def test_a_connection_that_comes_back_in_time_is_no_failure(clock: Clock, shown: list[str]) -> None:
    made = action(iter([answer("running"), LOST, LOST, LOST, answer("running"), LOST, ended()]))
    assert run(made, fleet_reconnect_timeout=10)["changed"] is True
    assert [line for line in shown if "no connection" in line] == [
        "  atlas  weights  no connection; tries for 10 s"
    ] * 2


def test_a_start_whose_answer_was_lost_is_asked_for_with_the_same_ticket(clock: Clock) -> None:
    made = action(iter([LOST, ended()]))
    run(made)
    assert made.asked[0]["request_id"] == made.asked[1]["request_id"] != ""


def test_a_connection_that_stays_away_makes_the_host_unreachable(clock: Clock) -> None:
    made = action(iter([answer("running"), *[LOST] * 50]))
    with pytest.raises(AnsibleConnectionFailure, match="next converge attaches"):
        run(made, fleet_reconnect_timeout=10)
    assert 10 <= clock.now - 100 <= 15


def test_a_changed_host_key_is_not_waited_for(clock: Clock) -> None:
    changed = AnsibleConnectionFailure("Failed to connect via ssh: Host key verification failed.")
    with pytest.raises(AnsibleConnectionFailure, match="Host key verification"):
        run(action(iter([changed])))
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
            "the work weights did not finish; found: its unit u is gone without a result (oom-kill); "
            "remedy: run the converge again; it continues where it was cut",
            id="killed",
        ),
        pytest.param(
            answer("replaced"),
            "the work weights was taken over; found: another controller started other work under this name",
            id="replaced",
        ),
    ],
)
def test_a_failure_is_one_message(clock: Clock, last: dict[str, Any], told: str) -> None:
    result = run(action(iter([answer("running"), last])))
    assert (result["failed"], result["msg"]) == (True, told)


def test_a_module_that_failed_is_handed_on(clock: Clock) -> None:
    failed = {"failed": True, "msg": "no such user"}
    assert run(action(iter([failed]))) == failed
    assert run(action(iter([answer("running"), failed]))) == failed
