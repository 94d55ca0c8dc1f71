"""Files that canvas-fleet writes where users also write: nothing of theirs is lost, nothing is ever half written.

The record beside (fleet_state_dir) holds the digests of all that we wrote, per path, noted before the write: what
stands on disk with another digest was changed or made by a person, and is kept as `<file>.user-<digest8>`.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass

from ..core.errors import FleetError
from . import files, folders
from .digests import sha256
from .ownership import Owner
from .reach import reach

KEEP_DIGESTS = 20  # per path; older texts of ours would be taken for a user's and be kept, which loses nothing


def read(path: str) -> bytes | None:
    """Content, or None when there is nothing. Raises FleetError where a folder stands in the way."""
    try:
        return files.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError as error:
        raise FleetError("a folder stands where a file is to be written", found=path, expected="a file") from error


@dataclass(frozen=True)
class State:
    """A small file: `mode` in octal digits, `sha256` of its content; both empty where it cannot be read."""

    path: str = ""
    present: bool = False
    sha256: str = ""
    mode: str = ""
    owner: str = ""


def state_of(path: str) -> State:
    """Never raises for what is absent."""
    try:
        data = files.read(path)
        with reach(path) as place:
            info = place.stat()
    except OSError:
        return State(path, os.path.lexists(path))
    try:
        owner = pwd.getpwuid(info.st_uid).pw_name
    except KeyError:
        owner = str(info.st_uid)
    return State(path, True, sha256(data), f"{stat.S_IMODE(info.st_mode):04o}", owner)


class Record:
    """The digests of what we wrote, by path. A lost or broken record only means that more is kept."""

    def __init__(self, path: str) -> None:
        self.path = path
        loaded = files.load(path)
        self._written = {key: [str(one) for one in value] for key, value in loaded.items() if isinstance(value, list)}

    def knows(self, path: str, sha256: str) -> bool:
        return sha256 in self._written.get(path, [])

    @property
    def paths(self) -> list[str]:
        return sorted(self._written)

    def wrote(self, path: str) -> bool:
        """Was there ever a text of ours at this path?"""
        return path in self._written

    def note(self, path: str, sha256: str) -> None:
        """Remember a digest, on disk, before the bytes are written: a cut in between must not look like a user."""
        known = [one for one in self._written.get(path, []) if one != sha256]
        self._written[path] = [*known, sha256][-KEEP_DIGESTS:]
        folders.make(os.path.dirname(self.path))
        files.save(self.path, self._written, 0o600)


def refuse_file_in_the_way(path: str) -> None:
    """Raises FleetError when the folder, or one above it, is a file."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path):
        raise FleetError("a file stands where a folder is needed", found=path, expected="a folder")


def make_folders(path: str, owner: Owner, mode: int) -> None:
    """The folder and its missing parents, owned by `owner`. Raises FleetError where a file is in the way."""
    refuse_file_in_the_way(path)
    folders.make(path, owner, mode)


def keep(path: str, data: bytes, *, secret: bool = False) -> str:
    """Keep a user's bytes beside the file, with the file's owner and mode (0600 for a secret); returns where."""
    place = f"{path}.user-{sha256(data)[:8]}"
    if read(place) != data:
        with reach(path) as found:
            info = found.stat()
        mode = 0o600 if secret else stat.S_IMODE(info.st_mode) & 0o777
        files.write(place, data, mode, Owner(info.st_uid, info.st_gid) if info.st_uid else Owner())
    return place
