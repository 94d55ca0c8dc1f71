"""Each module that keeps a host for its controller takes the controller as an argument, or it could never be called."""

from __future__ import annotations

import pytest

from tests.unit.support.places import ROOT

HOLDING = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py") if "host_lock.held(" in path.read_text())


@pytest.mark.parametrize("name", HOLDING)
def test_a_module_that_holds_a_host_takes_who_holds_it(name: str) -> None:
    assert "**host_lock.ARGUMENT" in (ROOT / f"plugins/modules/{name}.py").read_text()


def test_modules_hold_hosts() -> None:
    assert len(HOLDING) >= 8
