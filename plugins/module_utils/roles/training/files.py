"""Root's files of a training's unit: written aside and renamed, and the supervisor's code, of which old ones go."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from . import payload
from .want import UNIT_DIR, Want


def write(path: Path, content: bytes) -> None:
    """0644, in one step, and on the disk."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as out:
        os.fchmod(descriptor, 0o644)
        out.write(content)
        out.flush()
        os.fsync(descriptor)
    os.replace(aside, path)


def place_payload(want: Want, processes: Path = Path("/proc"), units: Path = Path(UNIT_DIR)) -> None:
    """The supervisor's code for the next start; code that no process runs and no unit names is removed."""
    name, content = payload.payload()
    folder = Path(want.payloads)
    write(folder / name, content)
    used = named_in(units.glob("*.service")) | named_in(processes.glob("[0-9]*/cmdline"))
    for old in folder.glob("*.pyz"):
        if old.name != name and str(old) not in used:
            with contextlib.suppress(FileNotFoundError):
                old.unlink()


def named_in(files: Iterable[Path]) -> set[str]:
    """All words of these files, those of a command line included."""
    found: set[str] = set()
    for path in files:
        with contextlib.suppress(OSError):
            found.update(path.read_bytes().decode("utf-8", "replace").replace("\0", " ").split())
    return found
