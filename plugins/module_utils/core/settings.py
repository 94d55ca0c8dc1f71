"""The settings of a host: the variables of all roles, typed by their argument specs.

settings.pyi names each of them, for mypy; `make docs` writes it. A secret is "sha256:<hex>" of its value, or "".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]
NO_SETTINGS: Settings = {}


def named(settings: Settings, name: str) -> Any:
    """The value of a variable whose name is computed."""
    return settings[name]
