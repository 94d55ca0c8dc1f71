"""Leftovers. The role removes the driver itself, before teardown is called, and only if asked."""

from __future__ import annotations

import os

from ...core.settings import Settings
from . import observe

RECORDS: tuple[str, ...] = ("nvidia", observe.RECORD)


def to_take_back(settings: Settings) -> bool:
    """True when the role itself must run first."""
    record = os.path.join(str(settings["fleet_state_dir"]), observe.RECORD)
    return "nvidia" in settings["fleet_teardown_include"] and os.path.exists(record)
