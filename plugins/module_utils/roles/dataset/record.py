"""Paths of the data on a host, and the record of canvas-fleet's files. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union
from urllib.parse import urlsplit

from ...core import wire
from ...core.errors import FleetError
from ...core.settings import Settings
from ...system import files, folders
from .inspection import Inspection

KINDS = ("train", "test")
Spec = Mapping[str, Union[bool, str, tuple[int, ...]]]


@dataclass(frozen=True)
class Layout:
    """Paths on the host. `originals` holds "train", and "test" when there is a test set."""

    output_dir: Path
    train_dir: Path
    train_file: Path
    info_path: Path
    record_path: Path
    originals: Mapping[str, Path]

    @property
    def folders(self) -> dict[str, Path]:
        """Folders that must exist, by the variable that names them."""
        return {
            "dataset_output_dir": self.output_dir,
            "dataset_train_dir": self.train_dir,
            "dataset_train_file": self.train_file.parent,
            "dataset_info_path": self.info_path.parent,
        }


@dataclass(frozen=True)
class Recorded:
    """A file at the time when it was read; see identity() and described()."""

    path: str = ""
    sha256: str = ""
    size: int = -1
    mtime_ns: int = -1
    inode: int = -1


@dataclass(frozen=True)
class Original(Recorded):
    """An original file and its source."""

    origin: str = ""


@dataclass(frozen=True)
class Copy(Recorded):
    """The training copy: what it was made from and how (copy_spec), its rows and row groups."""

    spec: Spec = field(default_factory=dict)
    rows: int = 0
    row_groups: int = 0


@dataclass(frozen=True)
class Known:
    """The record for the plan. An inspection in another form counts as one by older rules."""

    originals: Mapping[str, Original] = field(default_factory=dict)
    copy: Copy | None = None
    inspection: Inspection | None = None

    @property
    def train(self) -> Original | None:
        return self.originals.get("train")


@dataclass(frozen=True)
class Owned:
    """Digests of canvas-fleet's files at a path."""

    owned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def known_of(record: Mapping[str, Any]) -> Known:
    """Unusable parts count as absent, so the work makes them again."""
    inspection = record.get("inspection")
    return Known(
        wire.from_record(Known, {"originals": record.get("originals")}, Known()).originals,
        wire.from_record(Copy, record.get("copy")),
        wire.from_record(Inspection, inspection, Inspection()) if inspection else None,
    )


def path(settings: Settings) -> Path:
    return Path(str(settings["fleet_state_dir"])) / "dataset" / "record.json"


def incoming(settings: Settings) -> Path:
    """Root's folder with the controller's files, until the work has taken them to their place as the account."""
    return Path(str(settings["fleet_state_dir"])) / "incoming"


def sound(settings: Settings, found: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the account's record that root uses: files at the paths in `settings`; {} without any."""
    folders = {str(folder) for folder in layout(settings).folders.values()}

    def lies_there(name: str) -> bool:
        return os.path.dirname(name) in folders and files.stays_below(os.path.basename(name))

    known, owned = known_of(found), wire.from_record(Owned, {"owned": found.get("owned")}, Owned()).owned
    parts = {
        "originals": {kind: one for kind, one in known.originals.items() if lies_there(one.path)},
        "copy": known.copy if known.copy and lies_there(known.copy.path) else None,
        "inspection": known.inspection,
        "owned": {name: digests for name, digests in owned.items() if lies_there(name)},
    }
    return {"by": "canvas-fleet", **{name: wire.to_dict(part) for name, part in parts.items() if part}} if found else {}


def file_name(place: str, source: str) -> str:
    """The name that a source's file gets on the host."""
    return Path(urlsplit(place).path if source == "url" else place).name


def layout(settings: Settings) -> Layout:
    """Raises FleetError for invalid paths."""
    output = Path(str(settings["dataset_output_dir"]))
    given = {kind: str(settings.get(f"dataset_{kind}") or "") for kind in KINDS}
    source = str(settings.get("dataset_source") or "")
    originals = {kind: output / file_name(place, source) for kind, place in given.items() if place}
    train_file = Path(str(settings["dataset_train_file"]))
    found = Layout(
        output_dir=output,
        train_dir=Path(str(settings["dataset_train_dir"])),
        train_file=train_file,
        info_path=Path(str(settings["dataset_info_path"])),
        record_path=path(settings),
        originals=originals,
    )
    _check_apart(found)
    return found


def _check_apart(paths: Layout) -> None:
    if paths.train_dir == paths.output_dir:
        raise FleetError(
            "the training copy needs its own folder: the trainer takes every parquet file in it",
            variable="dataset_train_dir",
            found=f"{paths.train_dir}, which is dataset_output_dir too",
            expected="another folder",
            remedy="name a folder that holds nothing else",
        )
    if paths.train_file.parent != paths.train_dir or paths.train_file.suffix != ".parquet":
        raise FleetError(
            "the trainer finds the training copy by its folder and its ending",
            variable="dataset_train_file",
            found=str(paths.train_file),
            expected=f"a file *.parquet in {paths.train_dir}",
            remedy="set dataset_train_file to such a file",
        )
    names = [path.name for path in paths.originals.values()]
    if len(set(names)) < len(names) or "" in names:
        raise FleetError(
            "train and test file share a folder, so their names must differ",
            variable="dataset_test",
            found=f"{names[-1]!r} for both" if "" not in names else "a path without a file name",
            expected="two file names",
            remedy="rename one of the files at its source",
        )


def file_in_the_way(paths: Layout) -> tuple[str, Path] | None:
    """The variable and the file that stands where one of the folders (or a folder above it) must be."""
    for variable, folder in paths.folders.items():
        for place in (folder, *folder.parents):
            if os.path.lexists(place):
                if not place.is_dir():
                    return variable, place
                break
    return None


def other_parquets(paths: Layout) -> list[str]:
    """Names of further parquet files in the training folder."""
    with contextlib.suppress(OSError):
        found = (name for name in folders.names(paths.train_dir) if name.endswith(".parquet"))
        return [name for name in found if name != paths.train_file.name]
    return []


def identity(path: Path) -> dict[str, int] | None:
    """Size in bytes, mtime in ns and inode: they show that a file is unchanged without reading it."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}


def unchanged(path: Path, recorded: Mapping[str, Any] | None) -> bool:
    """True when the file at `path` is the recorded one."""
    now = identity(path)
    return bool(now and recorded and recorded.get("path") == str(path) and all(recorded.get(k) == now[k] for k in now))


def described(path: Path, digest: str) -> dict[str, Any]:
    """The record's entry of a file."""
    return {"path": str(path), "sha256": digest, **(identity(path) or {})}


def save(path: Path, record: Mapping[str, Any]) -> None:
    files.save(path, {"by": "canvas-fleet", **record})


def read(settings: Settings) -> dict[str, Any]:
    """The valid parts of the record."""
    return sound(settings, files.load(path(settings)))


def own(record: dict[str, Any], path: Path, digest: str) -> bool:
    """Record that canvas-fleet writes this content at this path, before it does so."""
    known = record.setdefault("owned", {}).setdefault(str(path), [])
    if digest in known:
        return False
    known.append(digest)
    return True


def owns(record: Mapping[str, Any], path: Path, digest: str) -> bool:
    return digest in record.get("owned", {}).get(str(path), ())


def info_text(paths: Layout, groups: int, rows: int) -> str:
    """The info file: the loader finds its file by the full path of this host."""
    return json.dumps({str(paths.train_file): {"num_row_groups": groups, "num_rows": rows}}, indent=2) + "\n"
