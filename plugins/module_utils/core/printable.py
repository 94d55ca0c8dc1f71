"""Printable names: JSON between module and controller is UTF-8, but a file's name may hold any bytes."""

from __future__ import annotations

from typing import Any


def printable(value: Any) -> Any:
    """The same plain data, with � for bytes that are not UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {printable(key): printable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(one) for one in value]
    return value
