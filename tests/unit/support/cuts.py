"""A process that dies at one of its calls that change the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system.files import STALE

CALLS = ("replace", "unlink", "symlink", "link", "mkdir", "rmdir")


class CutError(BaseException):
    """A power cut."""


def cut_at(
    monkeypatch: pytest.MonkeyPatch, number: int, calls: Iterable[str] = ("replace",), *, after: bool = False
) -> list[str]:
    """Die before (or right after) the call of that number, counted from 0; nothing is done from then on.

    Returns the names of the calls that were reached, as they come.
    """
    reached: list[str] = []

    def cutting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            reached.append(name)
            if len(reached) > number + after:
                raise CutError
            result = real(*args, **named)
            if after and len(reached) == number + 1:
                raise CutError
            return result

        return call

    for name in calls:
        monkeypatch.setattr(os, name, cutting(name, getattr(os, name)))
    return reached


def age_parts(root: Path) -> None:
    """An hour goes by: parts of writers that died are old now."""
    for part in root.rglob(".*.canvas-fleet"):
        os.utime(part, (time.time() - STALE - 60,) * 2, follow_symlinks=False)
