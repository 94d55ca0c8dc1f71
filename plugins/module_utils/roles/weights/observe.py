"""The role weights: the model's files, each known by size and digest.

What was once hashed is remembered with size, mtime and inode in `<fleet_state_dir>/weights/<digest of folder>.json`, so
that looking takes no time. Files that a user brought are adopted when their digest is right, and never altered.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...core.settings import Settings
from ...system import files, folders
from ...system.digests import sha256
from ...trainer.model import Read
from . import headers

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


def record_path(settings: Settings) -> Path:
    """The record of this model folder; several folders on one host each have their own."""
    folder = os.path.normpath(str(settings["weights_dir"]))
    name = sha256(folder)[:12]
    return Path(str(settings["fleet_state_dir"])) / "weights" / f"{name}.json"


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
    record = files.load(record_path(settings))
    entries: Mapping[str, Any] = record.get("files", {})
    found = {name: _file(folder / name, entries.get(name, {})) for name in settings["weights_files"]}
    parts = sum(size_of(part) for part in _parts(folder / STAGING))
    return Observation(
        kind="folder" if folder.is_dir() else "other" if os.path.lexists(folder) else "absent",
        repo=str(record.get("repo", "")),
        revision=str(record.get("revision", "")),
        asked=str(record.get("asked", "")),
        files=found,
        rate=record.get("rate", 0),
        bytes=parts + sum(file.size for file in found.values()),
        model=headers.observe(settings),
    )


def _parts(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in folders.names(folder) if name.endswith(".part")]
    except OSError:
        return []


def _file(path: Path, entry: Mapping[str, Any]) -> File:
    now = stamp(path)
    if now is None:
        return File("absent")
    if not known(entry, now):
        return File("unverified", now["size"])
    return File("verified", now["size"], str(entry.get("sha256", "")))


def size_of(path: Path) -> int:
    now = stamp(path)
    return now["size"] if now else 0
