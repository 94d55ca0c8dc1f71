"""Root's files of a training's unit, and the supervisor's code, whose old versions are removed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...system import files, folders
from . import payload
from .want import UNIT_DIR, Want


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """On the disk, in a folder that is made where it is absent."""
    folders.make(path.parent)
    files.write(path, content, mode)


def place_payload(want: Want, processes: Path = Path("/proc"), units: Path = Path(UNIT_DIR)) -> None:
    """Write the supervisor's code for the next start; remove code that no process and no unit uses."""
    name, content = payload.payload()
    folder = Path(want.payloads)
    write(folder / name, content)
    used = named_in(units.glob("*.service")) | named_in(processes.glob("[0-9]*/cmdline"))
    for old in folder.glob("*.pyz"):
        if old.name != name and str(old) not in used:
            files.remove(old)


def named_in(paths: Iterable[Path]) -> set[str]:
    """All words of these files, those of a command line included."""
    found: set[str] = set()
    for path in paths:
        found.update(files.text(path).replace("\0", " ").split())
    return found
