"""What a finding does to its run."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import SEVERITIES, finding


@pytest.mark.parametrize(("severity", "accepted"), [*itertools.product(SEVERITIES, [False, True])])
def test_only_an_error_that_nobody_accepted_refuses_the_run(severity: str, accepted: bool) -> None:
    found = replace(finding("NO_GPU", found="x", expected="y"), severity=severity, accepted=accepted)
    assert found.refuses == ((severity, accepted) == ("error", False))
    assert found.as_dict()["accepted"] is accepted
