"""Printable names: JSON between module and controller is UTF-8, but a file's name may hold any bytes."""

from __future__ import annotations

import re
from typing import Any

SURROGATES = re.compile("[\ud800-\udfff]")  # bytes of a name that are not UTF-8, and what JSON may hold


def is_utf8(text: str) -> bool:
    return not SURROGATES.search(text)


def printable(value: Any) -> Any:
    """The same plain data, with � for bytes that are not UTF-8."""
    if isinstance(value, str):
        return SURROGATES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {printable(key): printable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(one) for one in value]
    return value
