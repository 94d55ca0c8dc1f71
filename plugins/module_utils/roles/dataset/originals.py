"""Put the original files in place. Foreign files are never overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import FleetError, raise_for
from ...core.settings import Settings
from ...findings.finding import finding
from ...system import digests, files
from ...system import folders as folder_door
from ...system.ownership import Owner
from . import record
from .decide import in_the_way
from .record import Layout


def check_places(paths: Layout) -> None:
    """Raises FleetError for a file that must be moved first."""
    raise_for(in_the_way(record.file_in_the_way(paths), record.other_parquets(paths), str(paths.train_dir)))


def digest_of(path: Path, entry: Mapping[str, Any] | None) -> str:
    """The file's sha256, from the record if that still fits; "" without a file."""
    if not path.exists():
        return ""
    if entry and record.unchanged(path, entry):
        return str(entry["sha256"])
    return digests.of_file(path)


def may_replace(path: Path, present: str, wanted: str, known: Mapping[str, Any], variable: str) -> None:
    """Raises FleetError for a foreign file at `path` with other content."""
    if present in ("", wanted) or record.owns(known, path, present):
        return
    foreign = finding(
        "DATASET_FILE_FOREIGN",
        variable=variable,
        found=f"{path} with sha256 {present}",
        expected=f"sha256 {wanted}, or no file",
        remedy=f"move {path} away if it is not needed, or name it as the source",
    )
    raise FleetError.of(foreign)


def check_digest(found: str, wanted: str, variable: str, what: str) -> None:
    if wanted and found != wanted:
        wrong = f"{what} with sha256 {found}"
        raise FleetError.of(
            finding("DATASET_DIGEST_WRONG", variable=variable, found=wrong, expected=f"sha256 {wanted}")
        )


def prepare(settings: Settings, paths: Layout, digests: Mapping[str, str], owner: Owner, check: bool) -> dict[str, Any]:
    """Make the folders and find missing originals.

    `digests` holds the wanted sha256 by kind where it is known; "lacking" in the result holds those kinds whose file is
    absent or another one that canvas-fleet put there. Raises FleetError for a foreign file.
    """
    check_places(paths)
    known = record.read(settings)
    lacking = []
    for kind, wanted in digests.items():
        path = paths.originals[kind]
        present = digest_of(path, known.get("originals", {}).get(kind))
        may_replace(path, present, wanted, known, f"dataset_{kind}")
        if present != wanted:
            lacking.append(kind)
    folders = set(paths.folders.values())
    absent = sorted(str(folder) for folder in folders if not folder.is_dir())
    if not check:
        folder_door.remove_tree(record.incoming(settings))  # what an earlier call left there
        folder_door.make(record.incoming(settings))
        for folder in sorted(folders):
            folder_door.make(folder, owner)
    return {"changed": bool(absent or lacking), "lacking": lacking, "folders": absent}


def drop_part(part: Path) -> None:
    files.remove(part, part.with_name(part.name + ".json"))
