"""The role dataset: the user's parquet files on a host, and the training copy for the loader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import FleetError
from ...core.settings import Settings
from ...system import files, folders
from . import record
from .record import Known, Recorded, layout

INFO = 4096  # characters; the loader's info file has some hundred


@dataclass(frozen=True)
class Misplaced:
    """An invalid path."""

    variable: str
    found: str
    expected: str


@dataclass(frozen=True)
class File:
    """`unchanged`: equal to the record; `recorded`: written by canvas-fleet."""

    present: bool = False
    unchanged: bool = False
    recorded: bool = False


@dataclass(frozen=True)
class Observation:
    """`others`: further files in the training folder; `blocked`: a variable, and the file in its folder's place."""

    misplaced: Misplaced | None = None
    known: Known = field(default_factory=Known)
    originals: Mapping[str, File] = field(default_factory=dict)
    copy: File = File()
    info: str = ""
    others: tuple[str, ...] = ()
    blocked: tuple[str, str] | None = None
    former: bool = False  # the record lies in a folder of the account, as version 0.1 made it


def observe(settings: Settings) -> Observation:
    """Observe the data. Reads the record, and compares files by size, mtime and inode; hashes nothing."""
    try:
        paths = layout(settings)
    except FleetError as error:
        return Observation(Misplaced(error.variable, error.found, error.message))
    raw = record.read(settings)
    known, owned = record.known_of(raw), raw.get("owned") or ()
    blocked = record.file_in_the_way(paths)

    def look(path: Path, entry: Recorded | None) -> File:
        return File(path.exists(), entry is not None and record.unchanged(path, vars(entry)), str(path) in owned)

    return Observation(
        known=known,
        originals={kind: look(path, known.originals.get(kind)) for kind, path in paths.originals.items()},
        copy=look(paths.train_file, known.copy),
        info=files.text(paths.info_path)[:INFO],
        others=tuple(record.other_parquets(paths)),
        blocked=(blocked[0], str(blocked[1])) if blocked else None,
        former=folders.is_anothers(paths.record_path.parent),
    )
