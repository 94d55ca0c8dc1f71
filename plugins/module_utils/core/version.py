"""The collection's version, for what is written on hosts (galaxy.yml is not there; a test compares the two)."""

from __future__ import annotations

import re

VERSION = "0.1.0"


def numbers(text: str) -> tuple[int, ...]:
    """580.159.04 → (580, 159, 4); () for a text without a number. A host's text may be anything."""
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", text))
