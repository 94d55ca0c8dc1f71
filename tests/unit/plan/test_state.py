"""One word for a host that was not judged: what a user has to look at differs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.findings import of_reach
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import finding
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import Facts
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import make_plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import HostSeen
from ansible_collections.canvas.fleet.plugins.module_utils.plan.state import state

from tests.unit.support.observed import bare

SEEN = bare(Facts("3.11", 1))


@pytest.mark.parametrize(
    ("codes", "word"),
    [
        (["SSH_TIMEOUT"], "no answer"),
        (["SSH_LOGIN_REFUSED"], "no answer"),
        (["HOST_KEY_CHANGED"], "no answer"),
        (["HOST_UNREACHABLE"], "no answer"),
        (["BECOME_PASSWORD_MISSING"], "failed"),
        (["PYTHON_OLD"], "failed"),
        (["HOST_ANSWER_MALFORMED"], "failed"),
        (["HOST_MISSING"], "not asked"),
        (["VARIABLE_INVALID"], "not asked"),
        (["VARIABLE_UNKNOWN", "RUN_AMBIGUOUS"], "not asked"),
        ([], "not asked"),
    ],
)
def test_a_host_that_was_not_judged(codes: list[str], word: str) -> None:
    found = tuple(finding(code, found="x", expected="y") for code in codes)
    host = HostSeen("h", "r", findings=found)
    assert state(host) == word
    assert make_plan([host], {}).as_dict()["hosts"]["h"]["state"] == word


def test_a_host_that_was_judged_although_something_is_accepted() -> None:
    known = replace(finding("NO_SYSTEMD", found="x", expected="y"), accepted=True)
    assert state(HostSeen("h", "r", observation=SEEN, findings=(known,))) == "judged"


def test_every_way_in_which_a_host_is_not_reached_has_a_word() -> None:
    words = {
        code: state(HostSeen("h", "r", findings=(finding(code, found="", expected=""),))) for code in of_reach.ENTRIES
    }
    assert {code for code, word in words.items() if word == "not asked"} == {"HOST_MISSING"}
