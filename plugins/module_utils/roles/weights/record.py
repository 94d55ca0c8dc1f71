"""The record of hashed model files: size, mtime and inode by file, so that an observation needs no hashing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ...core import wire
from ...core.settings import Settings
from ...system import files
from ...system.digests import sha256


@dataclass(frozen=True)
class Entry:
    """A file as it was when it was hashed. `origin`: "fetched", or "adopted" where somebody else brought it."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str
    origin: Literal["fetched", "adopted"]
    blob: str = ""
    revision: str = ""


@dataclass(frozen=True)
class Record:
    """Without `repo` not all of the files are of `revision` yet. `rate`: B/s of the last download; 0: not known."""

    dir: str = ""
    files: Mapping[str, Entry] = field(default_factory=dict)
    repo: str = ""
    revision: str = ""
    asked: str = ""  # the revision as it was asked for, perhaps a branch
    rate: float = 0


def path(settings: Settings) -> Path:
    """The record of this model folder; several folders on one host each have their own."""
    folder = os.path.normpath(str(settings["weights_dir"]))
    return Path(str(settings["fleet_state_dir"])) / "weights" / f"{sha256(folder)[:12]}.json"


def read(settings: Settings) -> Record:
    """Empty where there is none that can be used. Names of files stay below the model folder."""
    return _sound(files.load(path(settings)))


def sound(settings: Settings, found: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the account's record that root uses; {} without any."""
    known = _sound(found)
    return dict(wire.to_dict(known)) if known.files else {}


def _sound(found: Mapping[str, Any]) -> Record:
    known = wire.from_record(Record, found, Record())
    return replace(known, files={name: one for name, one in known.files.items() if files.stays_below(name)})
