"""What the tests of the action plugins share."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.plugin_utils import role_action


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(role_action.display, "display", lines.append)
    return lines
