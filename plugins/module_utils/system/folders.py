"""The door to the folders of a host: made with their owner, removed with all that is in them."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from . import limits
from .ownership import Owner
from .reach import Make, Place, instead, reach
from .reach import give as give_to

NOBODY = Owner()
# Entries of acl(5): the group of the file itself, accounts and groups, the mask of them, all others; a right.
OWN_GROUP, NAMED, MASK, OTHERS, WRITE = 0x04, (0x02, 0x08), 0x10, 0x20, 2
INTO = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


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


def walk(top: str | os.PathLike[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk, but to any depth, where os.walk ends with an error. A link to a folder is no folder."""
    waiting = [os.fspath(top)]
    while waiting:
        place = waiting.pop()
        with suppress(OSError):
            with os.scandir(place) as entries:
                found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
            below = sorted(name for name, is_folder in found.items() if is_folder)
            yield place, below, [name for name, is_folder in found.items() if not is_folder]
            waiting += [os.path.join(place, name) for name in reversed(below)]


def give(path: str | os.PathLike[str], owner: Owner, mode: int | None = None) -> None:
    """Give an existing folder of root's to the owner, with this mode. Raises OSError.

    In a folder of an account, and beyond its links, nothing is given away: any folder may have got this name there.
    """
    with reach(path, follow=False) as place, place.acting():
        fd = os.open(place.name, INTO, dir_fd=place.fd)
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
            # With the set-group-id bit, what root makes there is of this group.
            handed = found.st_gid != 0 and found.st_mode & stat.S_ISGID
            if not stat.S_ISLNK(found.st_mode) and not found.st_mode & stat.S_ISVTX and _written_by_list(place, handed):
                return f"{place} (access control list)"
    return ""


def _written_by_list(place: str, handed: int) -> bool:
    """Does an access control list let another account write there, or to what is made there? See acl(5). `handed`:
    what is made there is of the folder's group, which is not root's."""
    return _lets_write(place, "system.posix_acl_access", 0) or _lets_write(place, "system.posix_acl_default", handed)


def _lets_write(place: str, name: str, handed: int) -> bool:
    try:
        given = os.getxattr(place, name, follow_symlinks=False)
    except (OSError, AttributeError):  # none, or no file system with such lists
        return False
    entries = [(tag, id) for tag, rights, id in struct.iter_unpack("<HHI", given[4:]) if rights & WRITE]
    tags = [tag for tag, _id in entries]
    named = any(tag in NAMED and id not in (0, os.geteuid()) for tag, id in entries)
    masked = any(tag == MASK for tag, _rights, _id in struct.iter_unpack("<HHI", given[4:]))
    group = handed and OWN_GROUP in tags and (MASK in tags or not masked)
    return bool(OTHERS in tags or (MASK in tags and named) or group)


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
    """A file, a link, or a folder with all that is in it; no link is followed. What is absent is no error.

    Raises OSError, also where an account changes the tree meanwhile.
    """
    try:
        with reach(path, follow=False) as place:
            try:
                with place.acting():
                    _remove(place)
            except PermissionError:  # of another owner in an account's folder: root's, as long as no link led here
                if place.account is None or place.linked:
                    raise
                _remove(place)
    except (FileNotFoundError, NotADirectoryError):
        if os.path.lexists(path):
            raise


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
    """With two open folders at most: an account makes trees as deep as it likes, and changes them meanwhile."""
    if not stat.S_ISDIR(os.stat(place.name, dir_fd=place.fd, follow_symlinks=False).st_mode):
        os.unlink(place.name, dir_fd=place.fd)
        return
    way: list[tuple[str, os.stat_result, list[str]]] = []  # each folder's name, the one above it, what is left there
    here = os.open(place.name, INTO, dir_fd=place.fd)
    try:
        left = _emptied(here)
        while left or way:
            if left:
                name, above = left.pop(), os.fstat(here)
                with suppress(FileNotFoundError):
                    here = instead(here, os.open(name, INTO, dir_fd=here))
                    way.append((name, above, left))
                    left = _emptied(here)
                continue
            name, above, left = way.pop()
            here = instead(here, os.open("..", INTO, dir_fd=here))
            if not os.path.samestat(os.fstat(here), above):
                raise OSError(errno.EBUSY, "was moved while it was removed", name)
            with suppress(FileNotFoundError):
                os.rmdir(name, dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(place.name, dir_fd=place.fd)


def _emptied(folder: int) -> list[str]:
    """The folders in it, once all else is removed."""
    with os.scandir(folder) as entries:
        inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in inside:
        if not is_folder:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in inside if is_folder]
