"""The module's answer about a work. Progress and result come from the account of the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..core.progress import Step


@dataclass(frozen=True)
class Result:
    """How the work ended by itself. What it returns beside is read by the kinds of its worker."""

    ok: bool
    error: Mapping[str, str] = field(default_factory=dict)
    unexpected: bool = False


@dataclass(frozen=True)
class Polled:
    """`unit_result`: systemd's word for the end of a unit that left no result."""

    phase: Literal["running", "ended", "killed", "replaced", "none"]
    unit: str
    now: float
    digest: str = ""
    progress: Step = field(default_factory=Step)
    result: Result | None = None
    unit_result: str = ""
    log: tuple[str, ...] = ()
