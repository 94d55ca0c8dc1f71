"""What a finding does to its run."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import (
    LONG,
    MOST,
    SEVERITIES,
    few,
    finding,
    placed,
)


@pytest.mark.parametrize(("severity", "accepted"), [*itertools.product(SEVERITIES, [False, True])])
def test_only_an_error_that_nobody_accepted_refuses_the_run(severity: str, accepted: bool) -> None:
    found = replace(finding("NO_GPU", found="x", expected="y"), severity=severity, accepted=accepted)
    assert found.refuses == ((severity, accepted) == ("error", False))
    assert found.as_dict()["accepted"] is accepted


def test_a_host_has_as_many_findings_of_a_code_as_a_person_reads() -> None:
    """A hostile host could name a million parts; what stands behind them would never be read."""
    many = [
        finding(code, found=str(number), expected="y") for number in range(MOST + 5) for code in ("NO_GPU", "NOT_ROOT")
    ]
    kept = few([*many, finding("PYTHON_OLD", found="x", expected="y")])
    assert [one.code for one in kept] == ["NO_GPU", "NOT_ROOT"] * MOST + ["PYTHON_OLD"]
    assert {one.found for one in kept[-3:-1]} == {f"{MOST - 1}; and 5 more of this code"}
    assert few(many[: 2 * MOST]) == many[: 2 * MOST]


def test_what_was_found_is_as_long_as_a_person_may_read() -> None:
    assert len(finding("NO_GPU", found="x" * 1_000_000, expected="y").found) == LONG


def test_a_finding_keeps_the_host_and_run_that_it_names() -> None:
    bare = finding("NO_GPU", found="x", expected="y")
    named = replace(bare, host="a", run="b")
    assert [(one.host, one.run) for one in placed([bare, named], host="h", run="r")] == [("h", "r"), ("a", "b")]
