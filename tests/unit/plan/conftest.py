"""A plan that could not be made refuses its run in words; a test of the plan must not pass by that."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding
from ansible_collections.canvas.fleet.plugins.module_utils.plan import make


@pytest.fixture(autouse=True)
def every_answer_has_a_rule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_part: str, error: Exception) -> Finding:
        raise error

    if "unforeseen" not in request.keywords:
        monkeypatch.setattr(make, "unforeseen", broken)
