"""Leftovers: original data, training copy, partial downloads. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...core.leftover import Leftover
from ...core.settings import Settings
from ...system import digests
from . import record

RECORDS: tuple[str, ...] = ("dataset", "incoming")


def leftovers(settings: Settings) -> Iterator[Leftover]:
    paths = record.layout(settings)
    known = record.read(settings)
    folders = {paths.output_dir, paths.train_dir, paths.info_path.parent}
    originals = {str(entry.get("path")): entry for entry in (known.get("originals") or {}).values()}
    entries = {**originals, str((known.get("copy") or {}).get("path")): known.get("copy")}
    for name, written in sorted((known.get("owned") or {}).items()):
        path = Path(name)
        if path.parent not in folders or path.is_symlink() or not path.is_file():
            continue
        entry = entries.get(name)
        same = record.unchanged(path, entry) or digests.of_file(path) in written
        if not same:
            yield Leftover("dataset", name, "it is not the file that canvas-fleet wrote", "edits")
        elif path.parent == paths.output_dir:
            yield Leftover("dataset", name, "the original data", "data")
        else:
            yield Leftover("dataset", name)
    for part in sorted(part for folder in (paths.output_dir, paths.train_dir) for part in folder.glob(".*.part*")):
        yield Leftover("dataset", str(part))


def folders(settings: Settings) -> tuple[str, ...]:
    return tuple(map(str, record.layout(settings).folders.values()))
