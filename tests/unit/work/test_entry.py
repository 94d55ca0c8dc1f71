"""How work ends that meets a host's refusal: with a cause and a remedy, not with a traceback."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.work import entry


@pytest.mark.parametrize(
    ("error", "unexpected", "words"),
    [
        pytest.param(OSError(28, "No space left on device", "/srv/x"), False, "the disk is full", id="a full disk"),
        pytest.param(OSError(30, "Read-only file system", "/srv/x"), False, "does not allow", id="a read-only one"),
        pytest.param(OSError(5, "Input/output error", "/srv/x"), True, "Input/output error", id="a broken one"),
        pytest.param(ZeroDivisionError("x"), True, "ZeroDivisionError: x", id="a fault of ours"),
    ],
)
def test_an_error_of_the_host_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, error: Exception, unexpected: bool, words: str
) -> None:
    def work(spec: dict[str, Any], progress: Progress) -> None:
        raise error

    monkeypatch.setattr(entry, "worker", lambda name: SimpleNamespace(work=work))
    answer = entry.outcome("weights", {}, None)  # type: ignore[arg-type]
    assert answer["unexpected"] is unexpected
    assert words in answer["error"]["message"]
