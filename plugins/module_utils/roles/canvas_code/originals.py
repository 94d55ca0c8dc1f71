"""The originals of patched files: with them a later version takes back a patch that it no longer knows.

They lie in root's own folder, each under the digest of the file that was made of it.
"""

from __future__ import annotations

import os

from ...core.settings import Settings
from ...system import files, managed_files, ownership
from ...system.digests import sha256
from ...trainer import patch as patches
from ...trainer import patch_table


def folder(settings: Settings) -> str:
    state = settings.get("fleet_state_dir")
    return os.path.join(str(state), "canvas_code", "originals") if state else ""


def stripped(place: str, path: str, data: bytes) -> bytes:
    """The file without our patches, those of an older version too. `place`: folder(); `path`: as the table has it."""
    own = patches.stripped(patch_table.known(path), data)
    if own != data or not place:
        return own
    kept = managed_files.read(os.path.join(place, sha256(data)))
    return data if kept is None else kept


def keep(place: str, patched: bytes, original: bytes) -> None:
    if place:
        managed_files.make_folders(place, ownership.Owner(), 0o755)
        files.write(os.path.join(place, sha256(patched)), original)


def drop_others(place: str, digests: set[str]) -> None:
    """Remove the originals of files that are no longer there. `digests`: of the patched files as they are now."""
    for name in os.listdir(place) if place and os.path.isdir(place) else ():
        if name not in digests:
            files.remove(os.path.join(place, name))
