"""The dataset role: the user's parquet files on a host, and the training copy that the loader can learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.errors import FleetError
from ...system import files
from . import record
from .record import Layout, layout


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What lies on the host. Reads the record, looks at files by size, mtime and inode; hashes nothing."""
    try:
        paths = layout(settings)
    except FleetError as error:
        return {"misplaced": {"message": error.message, "variable": error.variable, "found": error.found}}
    known = files.load(paths.record_path)
    originals = known.get("originals", {})
    blocked = record.file_in_the_way(paths)
    return {
        "record": {name: known.get(name) for name in ("originals", "copy", "inspection")},
        "originals": {
            kind: {
                "present": path.exists(),
                "unchanged": record.unchanged(path, originals.get(kind)),
                "recorded": str(path) in known.get("owned", {}),
            }
            for kind, path in paths.originals.items()
        },
        "copy": {
            "present": paths.train_file.exists(),
            "unchanged": record.unchanged(paths.train_file, known.get("copy")),
        },
        "info": _text(paths),
        "others": record.other_parquets(paths),
        "blocked": [blocked[0], str(blocked[1])] if blocked else [],
        "unowned": _unowned(paths, known),
    }


def _text(paths: Layout) -> str:
    return files.text(paths.info_path)[:4096]


def _unowned(paths: Layout, known: Mapping[str, Any]) -> list[str]:
    """Parquet files beside the originals that somebody else put there."""
    ours = set(known.get("owned", {})) | {str(path) for path in paths.originals.values()}
    try:
        return sorted(str(path) for path in paths.output_dir.glob("*.parquet") if str(path) not in ours)
    except OSError:
        return []
