"""What the catalogue of findings says of one code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One code of the catalogue: how bad it is, why it matters, and how it is mended."""

    severity: str
    because: str
    remedy: str
