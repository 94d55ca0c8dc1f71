"""The stream of a host's lines: its name in front, each line once, until the training has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.canvas.fleet.plugins.action import training_logs

from tests.unit.support import actions


def news(at: int, phase: str = "running", **lines: list[str]) -> dict[str, Any]:
    return {"changed": False, "news": {"at": at, "cursor": f"c{at}", "phase": phase, **lines}}


def run(answers: Iterator[Any], check: bool = False) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    made = actions.action(training_logs, answers, {"training_logs_lines": 5}, check)
    return actions.run(made), made.asked


def test_lines_come_with_their_host_and_their_source_until_the_end(shown: list[str]) -> None:
    answers = [news(10, log=["a"], journal=["j"]), news(20), news(30, "finished", log=["b\x1b[31m\u202e"])]
    result, asked = run(iter(answers))
    assert shown == ["  atlas  log      a", "  atlas  journal  j", "  atlas  log      b\\x1b[31m\\u202e"]
    assert (result["lines"], result["phase"]) == (3, "finished")
    assert [(one["at"], one["cursor"]) for one in asked] == [(-1, ""), (10, "c10"), (20, "c20")]
    assert {one["lines"] for one in asked} == {5}


def test_a_lost_connection_is_tried_again_and_no_line_is_shown_twice(shown: list[str]) -> None:
    answers = [news(10, log=["a"]), AnsibleConnectionFailure("timed out"), news(20, "stopped", log=["b"])]
    run(iter(answers))
    assert [line for line in shown if "log" in line] == ["  atlas  log      a", "  atlas  log      b"]


def test_a_dry_run_looks_once() -> None:
    assert len(run(iter([news(10)]), check=True)[1]) == 1


def test_bytes_that_a_flood_cost_are_said(shown: list[str]) -> None:
    run(iter([news(10), {"news": {**news(20, "finished")["news"], "skipped": 800}}]))
    assert "800 bytes are left out" in "".join(shown)


def test_a_host_that_answers_more_than_was_asked_for_is_cut_here_too(shown: list[str]) -> None:
    result, _ = run(iter([news(10, "finished", log=["x"] * 5_000 + ["y" * 9_000], journal=["j"] * 5_000)]))
    assert result["lines"] == len(shown) == 2_000
    assert max(map(len, shown)) < 2_100


def test_an_answer_of_another_form_is_refused(shown: list[str]) -> None:
    result, _ = run(iter([{"news": {"log": "text", "phase": 5}}]))
    assert "HOST_ANSWER_MALFORMED" in result["msg"]
    assert shown == []
