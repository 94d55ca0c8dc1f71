"""Files that canvas-fleet writes where users also write: nothing of theirs is lost, nothing is ever half written.

The record beside (fleet_state_dir) holds the digests of all that we wrote, per path, noted before the write: what
stands on disk with another digest was changed or made by a person, and is kept as `<file>.user-<digest8>`.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import json
import os
import pwd
import stat
from dataclasses import dataclass
from typing import Any

from ..core.errors import FleetError

KEEP_DIGESTS = 20  # per path; older texts of ours would be taken for a user's and be kept, which loses nothing


@dataclass(frozen=True)
class Owner:
    """Numeric owner of what is written; None leaves it to the running user."""

    uid: int | None = None
    gid: int | None = None


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def owner_of(user: str, group: str) -> Owner:
    """Raises FleetError when the host has no such user or group."""
    try:
        return Owner(pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
    except KeyError as error:
        raise FleetError(
            "the host has no such user or group",
            variable="fleet_user",
            found=f"{user}:{group}",
            expected="an account that fleet_agent made",
        ) from error


def read(path: str) -> bytes | None:
    """Content, or None when there is nothing. Raises FleetError where a folder stands in the way."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError as error:
        raise FleetError("a folder stands where a file is to be written", found=path, expected="a file") from error


def state_of(path: str) -> dict[str, Any]:
    """Presence, mode (octal text), owner and digest of a small file; never raises for what is absent."""
    try:
        data = read(path)
        info = os.stat(path)
    except (OSError, FleetError):
        return {"path": path, "present": os.path.lexists(path), "sha256": "", "mode": "", "owner": ""}
    try:
        owner = pwd.getpwuid(info.st_uid).pw_name
    except KeyError:
        owner = str(info.st_uid)
    found = digest(data or b"")
    return {"path": path, "present": True, "sha256": found, "mode": f"{stat.S_IMODE(info.st_mode):04o}", "owner": owner}


class Record:
    """The digests of what we wrote, by path. A lost or broken record only means that more is kept."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._written: dict[str, list[str]] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError), open(path, encoding="utf-8") as stream:
            self._written = {str(key): [str(d) for d in value] for key, value in json.load(stream).items()}

    def knows(self, path: str, sha256: str) -> bool:
        return sha256 in self._written.get(path, [])

    def wrote(self, path: str) -> bool:
        """Was there ever a text of ours at this path?"""
        return path in self._written

    def note(self, path: str, sha256: str) -> None:
        """Remember a digest, on disk, before the bytes are written: a cut in between must not look like a user."""
        known = [one for one in self._written.get(path, []) if one != sha256]
        self._written[path] = [*known, sha256][-KEEP_DIGESTS:]
        make_folders(os.path.dirname(self.path), Owner(), 0o755)
        text = json.dumps(self._written, indent=1, sort_keys=True) + "\n"
        write(self.path, text.encode(), 0o600, Owner())


def refuse_file_in_the_way(path: str) -> None:
    """Raises FleetError when the folder, or one above it, is a file."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if not os.path.isdir(path):
        raise FleetError("a file stands where a folder is needed", found=path, expected="a folder")


def make_folders(path: str, owner: Owner, mode: int) -> None:
    """The folder and its missing parents, owned by `owner`. Raises FleetError where a file is in the way."""
    if os.path.isdir(path):
        return
    refuse_file_in_the_way(path)
    make_folders(os.path.dirname(path), owner, 0o755)
    os.mkdir(path, mode)
    if owner.uid is not None and owner.gid is not None:
        os.chown(path, owner.uid, owner.gid)
    os.chmod(path, mode)


def write(path: str, data: bytes, mode: int, owner: Owner, *, durable: bool = True) -> None:
    """Atomically: whoever reads sees the old file or the new one. Symlinks are followed.

    durable: also after a power cut; a caller that writes thousands of files syncs once instead.
    """
    path = os.path.realpath(path)
    aside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.canvas-fleet")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside)  # left by a run that was cut off
    # O_EXCL and O_NOFOLLOW: the folder may belong to a user, and we may be root.
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        if owner.uid is not None and owner.gid is not None:
            os.fchown(stream.fileno(), owner.uid, owner.gid)
        os.fchmod(stream.fileno(), mode)
        stream.flush()
        if durable:
            os.fsync(stream.fileno())
    os.replace(aside, path)


def keep(path: str, data: bytes, *, secret: bool = False) -> str:
    """Keep a user's bytes beside the file, with the file's owner and mode (0600 for a secret); returns where."""
    place = f"{path}.user-{digest(data)[:8]}"
    info = os.stat(path)
    if read(place) != data:
        write(place, data, 0o600 if secret else stat.S_IMODE(info.st_mode), Owner(info.st_uid, info.st_gid))
    return place
