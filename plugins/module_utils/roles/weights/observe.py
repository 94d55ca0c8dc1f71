"""The role weights: the model's files, each known by size and digest.

What was once hashed is recorded (record.py). A user's own files are adopted when their digest is right, never altered.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...core.settings import Settings
from ...system import folders
from ...trainer.model import Read
from . import headers, record

STAGING = ".canvas-fleet-parts"  # inside the model folder: it is on the same disk even where that is a mount point


@dataclass(frozen=True)
class File:
    """`size` in bytes; `sha256` of a verified one, else ""."""

    state: Literal["absent", "unverified", "verified"]
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Observation:
    """The model folder, and what the record says of it."""

    kind: Literal["absent", "folder", "other"] = "absent"
    repo: str = ""
    revision: str = ""
    asked: str = ""  # the revision as it was asked for, perhaps a branch
    files: Mapping[str, File] = field(default_factory=dict)
    rate: float = 0  # B/s of the last download; 0: not known
    bytes: int = 0  # that need not be fetched any more, parts of files among them
    model: Read | None = None
    former: bool = False  # the record lies in a folder of the account, as version 0.1 made it


def stamp(path: Path) -> dict[str, int] | None:
    """Size in bytes, mtime and inode, by which a hashed file is known again; None when it is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    if not path.is_file():
        return None
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "inode": found.st_ino}


def known(entry: Mapping[str, Any], now: Mapping[str, int] | None) -> bool:
    """True when the file still is the one that the entry describes."""
    return now is not None and all(entry.get(key) == value for key, value in now.items())


def observe(settings: Settings) -> Observation:
    folder = Path(str(settings["weights_dir"]))
    known = record.read(settings)
    found = {name: _file(folder / name, known.files.get(name)) for name in settings["weights_files"]}
    parts = sum(size_of(part) for part in _parts(folder / STAGING))
    return Observation(
        kind="folder" if folder.is_dir() else "other" if os.path.lexists(folder) else "absent",
        repo=known.repo,
        revision=known.revision,
        asked=known.asked,
        files=found,
        rate=known.rate,
        bytes=parts + sum(file.size for file in found.values()),
        model=headers.observe(settings),
        former=folders.is_anothers(record.path(settings).parent),
    )


def _parts(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in folders.names(folder) if name.endswith(".part")]
    except OSError:
        return []


def _file(path: Path, entry: record.Entry | None) -> File:
    now = stamp(path)
    if now is None:
        return File("absent")
    if entry is None or not known(vars(entry), now):
        return File("unverified", now["size"])
    return File("verified", now["size"], entry.sha256)


def size_of(path: Path) -> int:
    now = stamp(path)
    return now["size"] if now else 0
