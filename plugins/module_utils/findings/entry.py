"""The type of a catalogue entry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One code of the catalogue: severity, reason and remedy."""

    severity: str
    because: str
    remedy: str
