"""Copy the controller's code folder. The next run repairs an interrupted one.

The new version is noted (`pending`) before the first file is written, so a partial copy does not count as edits by
hand.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import FleetError
from ...core.settings import Settings
from ...system import files, managed_files, ownership
from ...trainer import registration
from . import copy, patching, record
from .apply import refuse
from .decide import edits_in_the_way
from .git import Ours
from .observe import observe


@dataclass(frozen=True)
class Steps:
    """Paths to write and to remove, edited paths among them, and edits that stay."""

    write: list[str]
    remove: list[str]
    blocked: list[str]
    edited: list[str]


def converge(settings: Settings, manifest: Mapping[str, str], archive: str, *, check: bool) -> dict[str, Any]:
    """Returns {"changed", "needs_archive", "before", "commit", "edits", "stashed", "patches"}; without an archive it
    changes nothing but patches.
    """
    folder, ours = str(settings["canvas_code_checkout"]), Ours.of(settings)
    if not check:
        record.move(settings)
    seen = observe(settings)
    wanting = refuse(seen, settings)
    note = copy.record(settings)
    before, wanted = str(note["digest"]), str(settings["canvas_code_controller_digest"])
    report = {
        "changed": not wanting.in_sync,
        "before": before,
        "commit": before,
        "edits": list(seen.edits),
        "stashed": "",
    }
    report |= {"needs_archive": False, "patches": []}
    if wanting.in_sync:
        return report
    if not wanting.values["moving"]:
        return {**report, "patches": patching.converge(settings, check=check)}
    steps = plan(folder, manifest, note, ours)
    if steps.blocked and settings["canvas_code_local_edits"] != "stash":
        raise FleetError.of(edits_in_the_way(steps.blocked, "the new version"))
    if check or not archive:
        return {**report, "commit": wanted, "needs_archive": not check}
    kept = _apply(settings, manifest, steps, archive)
    patches = patching.converge(settings, check=False)
    edits = list(observe(settings).edits)
    return {**report, "commit": wanted, "edits": edits, "stashed": ", ".join(kept), "patches": patches}


def plan(folder: str, manifest: Mapping[str, str], note: Mapping[str, Any], ours: Ours) -> Steps:
    """Compares files on disk with the manifest and with what was written before; reads only."""
    write: list[str] = []
    remove: list[str] = []
    blocked: list[str] = []
    edited: list[str] = []
    for path in sorted({*manifest, *note["files"], *note["pending"]}):
        known = note["files"].get(path)
        have, want = copy.content_digest(folder, path, ours, known), manifest.get(path, "")
        if have == want:
            continue
        if known and have and want == known[0] and have not in note["pending"].get(path, []):
            edited.append(path)  # by a person, in a file that the new version leaves as it was
            continue
        (write if want else remove).append(path)
        if have and have not in [*(known or [])[:1], *note["pending"].get(path, [])]:
            blocked.append(path)
    return Steps(write, remove, blocked, edited)


def _apply(settings: Settings, manifest: Mapping[str, str], steps: Steps, archive: str) -> list[str]:
    folder, ours = str(settings["canvas_code_checkout"]), Ours.of(settings)
    owner = ownership.owner_of(str(settings["fleet_user"]), str(settings["fleet_group"]))
    note = copy.record(settings)
    managed_files.make_folders(folder, owner, 0o755)
    coming = {path: sorted({*note["pending"].get(path, []), sha256}) for path, sha256 in manifest.items()}
    record.save(settings, "copy", {**note, "pending": {**note["pending"], **coming}})
    kept = [_keep(folder, path) for path in steps.blocked]
    with tarfile.open(archive) as packed:
        for path in steps.write:
            _write_one(folder, path, packed, ours, owner, settings)
    for path in steps.remove:
        files.remove(os.path.join(folder, path))
    written = {path: known for path, known in note["files"].items() if path in manifest}
    os.sync()  # once for all files, before the note says that they are there
    for path, sha256 in manifest.items():
        if path not in steps.edited:
            info = os.stat(os.path.join(folder, path))
            written[path] = [sha256, info.st_size, info.st_mtime_ns]
    digest = settings["canvas_code_controller_digest"]
    record.save(settings, "copy", {"digest": digest, "files": written, "pending": {}})
    return kept


def _write_one(
    folder: str,
    path: str,
    packed: tarfile.TarFile,
    ours: Ours,
    owner: ownership.Owner,
    settings: Settings,
) -> None:
    member = packed.getmember(path)
    source = packed.extractfile(member)
    if source is None:
        raise FleetError("the archive holds entries that are not files", found=path)
    full = os.path.join(folder, path)
    data = source.read()
    if path == ours.registration:
        data = _registered(full, data, settings)
    managed_files.make_folders(os.path.dirname(full), owner, 0o755)
    files.write(full, data, 0o755 if member.mode & 0o100 else 0o644, owner, durable=False)


def _registered(full: str, data: bytes, settings: Settings) -> bytes:
    """The new file with the registration of the present one."""
    place = (str(settings["dataset_group"]), str(settings["dataset_name"]))
    try:
        return registration.move(managed_files.read(full) or b"", data, *place)
    except FleetError:
        return data  # run_config reports why it does not fit


def _keep(folder: str, path: str) -> str:
    full = os.path.join(folder, path)
    return managed_files.keep(full, managed_files.read(full) or b"")
