"""Names as they can be told: JSON between a module and the controller is UTF-8, a file's name may be any bytes."""

from __future__ import annotations

from typing import Any


def printable(value: Any) -> Any:
    """The same plain data; what of a text is not UTF-8 is shown as �."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {printable(key): printable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(one) for one in value]
    return value
