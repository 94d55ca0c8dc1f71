"""The door to the folders of a host: made with their owner, removed with all that is in them."""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from . import limits
from .ownership import Owner
from .reach import Make, Place, reach
from .reach import give as give_to

NOBODY = Owner()


def make(path: str | os.PathLike[str], owner: Owner = NOBODY, mode: int = 0o755) -> None:
    """The folder and those above it that are absent (0755), all of them the owner's. One that exists stays as it is.

    Raises OSError, NotADirectoryError where a file is in the way.
    """
    with reach(os.path.join(path, "-"), make=Make(owner, mode)):
        pass


def names(path: str | os.PathLike[str], limit: int = limits.FOLDER_NAMES) -> list[str]:
    """Sorted names in a folder. Raises OSError, and FleetError for more than `limit` names."""
    with os.scandir(path) as entries:
        found = [entry.name for entry in itertools.islice(entries, limit + 1)]
    if len(found) > limit:
        raise limits.too_many(os.fspath(path), limit)
    return sorted(found)


def give(path: str | os.PathLike[str], owner: Owner, mode: int | None = None) -> None:
    """Give an existing folder to the owner, with this mode. Links are left alone. Raises OSError."""
    with reach(path, follow=False) as place:
        fd = os.open(place.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
        try:
            give_to(fd, owner)
            if mode is not None:
                os.fchmod(fd, mode)
        finally:
            os.close(fd)


def is_ours(path: str | os.PathLike[str]) -> bool:
    """A folder of whoever we are, and no link to one. Raises OSError."""
    found = os.stat(path, follow_symlinks=False)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def is_anothers(path: str | os.PathLike[str]) -> bool:
    """Something is there, and it is no folder of whoever we are."""
    return os.path.lexists(path) and not is_ours(path)


def open_to_others(path: str) -> str:
    """The first on the way to `path` that others than whoever we are may write to, "" for none.

    What they can only add to (/tmp) is none: nobody can exchange there what is ours.
    """
    for way in (os.path.abspath(path), os.path.realpath(path)):
        for place in [way[:at] or "/" for at, letter in enumerate(way) if letter == "/"] + [way]:
            try:
                found = os.stat(place, follow_symlinks=False)
            except OSError:
                break
            others = 0o002 | (0o020 if found.st_gid != 0 else 0)
            writable = not stat.S_ISLNK(found.st_mode) and found.st_mode & others and not found.st_mode & stat.S_ISVTX
            if found.st_uid not in (0, os.geteuid()) or writable:
                return place
    return ""


def is_closed(path: str | os.PathLike[str]) -> bool:
    """Ours, and not everybody may pass through. Raises OSError."""
    found = os.stat(path)
    return found.st_uid == os.geteuid() and found.st_mode & 0o005 != 0o005


def make_open(path: str | os.PathLike[str]) -> None:
    """Root's, and anybody may pass through; also one that an earlier version made under a login's umask of 027."""
    make(path)
    if is_closed(path):
        give(path, NOBODY, 0o755)


def remove_empty(path: str | os.PathLike[str]) -> None:
    """Raises OSError for a folder that holds something, or is none."""
    with reach(path, follow=False) as place, place.acting():
        os.rmdir(place.name, dir_fd=place.fd)


def remove_tree(path: str | os.PathLike[str]) -> None:
    """A file, a link, or a folder with all that is in it; no link is followed. What is absent is no error."""
    with suppress(FileNotFoundError, NotADirectoryError), reach(path, follow=False) as place:
        try:
            with place.acting():
                _remove(place)
        except PermissionError:  # of another owner in an account's folder: root's, as long as no link led here
            if place.account is None or place.linked:
                raise
            _remove(place)


def free(path: str | os.PathLike[str]) -> int:
    """Bytes that whoever we act as may still write there. Raises OSError."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


@contextmanager
def temporary() -> Iterator[str]:
    """A folder of our own while the block runs."""
    with tempfile.TemporaryDirectory(prefix="canvas-fleet-") as path:
        yield path


def _remove(place: Place) -> None:
    if not stat.S_ISDIR(os.stat(place.name, dir_fd=place.fd, follow_symlinks=False).st_mode):
        os.unlink(place.name, dir_fd=place.fd)
        return
    for _, folders, names, at in os.fwalk(place.name, topdown=False, onerror=_raise, dir_fd=place.fd):
        for name in names:
            os.unlink(name, dir_fd=at)
        for name in folders:
            try:
                os.rmdir(name, dir_fd=at)
            except NotADirectoryError:  # a link to a folder
                os.unlink(name, dir_fd=at)
    os.rmdir(place.name, dir_fd=place.fd)


def _raise(error: OSError) -> None:
    raise error
