"""The code as a copy of a folder on the controller: manifest, archive, and edits by hand in the copy.

A manifest maps a path (relative, with slashes) to the SHA-256 of the file. The record in the copy adds size and mtime
of each file as we wrote it, so that looking costs one stat per file.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

from ...core.errors import FleetError
from ...core.settings import Settings
from ...system import digests, files, folders
from ...system.digests import sha256
from . import record as root_record
from .git import Ours

TRAINER = "train/pretrain_unified_navit.py"


def inner(folder: str, name: str = "BAGEL-Canvas") -> str | None:
    """Path of the trainer's folder below `folder`: "", "BAGEL-Canvas", or None."""
    for below in (name, ""):
        if os.path.isfile(os.path.join(folder, below, TRAINER)):
            return below
    return None


def scan(folder: str, exclude: Iterable[str]) -> dict[str, str]:
    """The manifest of a folder; names that match a pattern of `exclude` are left out, with their contents."""
    patterns = tuple(exclude)

    def wanted(name: str) -> bool:
        return not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    found = {}
    for place, below, names in folders.walk(folder):
        below[:] = sorted(name for name in below if wanted(name))
        for name in sorted(names):
            full = os.path.join(place, name)
            if wanted(name) and os.path.isfile(full):
                found[os.path.relpath(full, folder)] = digests.of_file(full)
    return found


def digest(manifest: Mapping[str, str]) -> str:
    """Digest of a whole manifest."""
    return sha256(json.dumps(sorted(manifest.items())))


def pack(folder: str, manifest: Mapping[str, str], prefix: str = "") -> bytes:
    """A gzip'ed tar of the manifest's files below `prefix`, for the way to the host. Links are packed as files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1, dereference=True) as archive:
        for path in sorted(manifest):
            archive.add(os.path.join(folder, path), arcname=os.path.join(prefix, path), recursive=False)
    return target.getvalue()


def record(settings: Settings) -> dict[str, Any]:
    """{"digest", "files": {path: [sha256, size, mtime_ns]}, "pending": {path: [sha256, …]}}; empty when unreadable.

    Paths that leave the copy are ignored.
    """
    found = root_record.load(settings, "copy")
    try:
        return {
            "digest": str(found["digest"]),
            "files": _inside(found["files"], str, int, int),
            "pending": _inside(found["pending"]),
        }
    except (ValueError, KeyError, TypeError):
        return {"digest": "", "files": {}, "pending": {}}


def _inside(entries: Any, *kinds: type) -> dict[str, list[Any]]:
    """Version 0.1 let the account write them: an entry in another form is dropped. No `kinds`: texts alone."""

    def fits(entry: Any) -> bool:
        return isinstance(entry, list) and bool(entry) and tuple(map(type, entry)) == (kinds or (str,) * len(entry))

    return {path: entry for path, entry in dict(entries).items() if files.stays_below(path) and fits(entry)}


def content_digest(folder: str, path: str, ours: Ours, known: Any = None) -> str:
    """SHA-256 of a file of the copy without our part; "" when it is missing.

    known: [sha256, size, mtime_ns] of the record; the file is not read when size and mtime are the same.
    """
    full = os.path.join(folder, path)
    try:
        info = os.stat(full)
        if known and [info.st_size, info.st_mtime_ns] == list(known[1:]):
            return str(known[0])
        data = files.read(full)
    except OSError:
        return ""
    with contextlib.suppress(FleetError):  # a broken marker is an edit; run_config reports it
        data = ours.stripped(path, data)
    return sha256(data)


def edits(folder: str, note: Mapping[str, Any], ours: Ours) -> list[str]:
    """Files of the copy that match neither our record nor an interrupted copy."""
    found = []
    for path, known in sorted(note["files"].items()):
        have = content_digest(folder, path, ours, known)
        ours_by_now = [known[0], *note["pending"].get(path, [])]
        if have not in ours_by_now and (have or not note["pending"]):
            found.append(path)
    return found


def observe(settings: Settings) -> tuple[str, bool, tuple[str, ...]]:
    """(digest of the manifest, whether a change was interrupted, files that a person changed)."""
    note, folder = record(settings), str(settings["canvas_code_checkout"])
    return note["digest"], bool(note["pending"]), tuple(edits(folder, note, Ours.of(settings)))
