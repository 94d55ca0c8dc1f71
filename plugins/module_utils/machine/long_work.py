"""Long work that runs on a host: its unit, since when, how far. Reads only.

What a work says of its progress is the word of its account. work/runner.py starts it, and keeps these records.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from ..core import progress, wire
from ..core.settings import Settings
from ..system import files, folders, units

FOLDER = "work"  # below fleet_state_dir, a folder for each work
OWN = "own"  # in it, the folder of the work's user
PROGRESS = "progress.json"
RESULT = "result.json"  # when the work ended by itself
UNIT = "canvas-work-"  # and the name of the work
NAME = r"[a-z0-9][a-z0-9_.-]{0,63}"
LIMIT = 1 << 20  # bytes of a record
MOST = 32  # works; there are as many as roles
MICROSECOND = 1e-6
ASKED = ("Id", "ActiveState", "ActiveEnterTimestampMonotonic")


@dataclass(frozen=True)
class Work:
    """Seconds are of the host's clock."""

    name: str
    unit: str
    since: float
    seconds: float
    progress: str = ""


def observe(settings: Settings) -> tuple[Work, ...]:
    """The units of root's records that are active, with what the work says of its progress."""
    folder = Path(settings["fleet_state_dir"]) / FOLDER
    try:
        names = [name for name in folders.names(folder) if re.fullmatch(NAME, name)][:MOST]
    except FileNotFoundError:
        return ()
    shown = {one.get("Id"): one for one in (units.show(ASKED, *map(_unit, names)) if names else ())}
    now, ticks = time.time(), time.monotonic()
    found = []
    for name in names:
        unit = shown.get(_unit(name), {})
        if unit.get("ActiveState") in units.ACTIVE:
            begun = unit.get("ActiveEnterTimestampMonotonic", "")
            seconds = max(0.0, ticks - int(begun) * MICROSECOND) if begun.isdigit() and int(begun) else 0.0
            found.append(Work(name, f"{UNIT}{name}", now - seconds, seconds, _progress(folder / name / OWN, now)))
    return tuple(found)


def _unit(name: str) -> str:
    return f"{UNIT}{name}.service"


def _progress(folder: Path, now: float) -> str:
    """The account writes this file."""
    said = wire.from_record(progress.Step, files.load(folder / PROGRESS, LIMIT, follow=False), progress.Step())
    return progress.line(progress.reading(vars(said), now)) if said != progress.Step() else ""
