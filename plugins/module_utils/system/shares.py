"""A second file with the content of a first one, without a second copy of it on the disk."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress

from . import files

CLONE = 0x40049409  # FICLONE (linux/fs.h): XFS and Btrfs share the blocks until one of the two files is written


def share(source: str, target: str) -> bool:
    """`target` gets the content of the plain file `source`, which no write to the first name changes from then on.

    A clone where the file system has them, else a second name that nobody may write to by either name. False where
    it has neither. Raises FileExistsError where there is a target.
    """
    if os.path.lexists(target):
        raise FileExistsError(target)
    with suppress(OSError):
        clone(source, target)
        return True
    try:
        files.link(os.path.realpath(source), target)
        read_only(target)
    except OSError:
        files.remove(target)
        return False
    return True


def clone(source: str, target: str) -> None:
    """Raises OSError where the file system cannot, or the two lie on different ones."""
    try:
        found, _size = files.open_plain(source)
        with found, files.open_part(target, 0o644) as out:
            fcntl.ioctl(out.fileno(), CLONE, found.fileno())
            os.fsync(out.fileno())
        read_only(target)
    except OSError:
        files.remove(target)
        raise


def read_only(path: str) -> None:
    """A plain file that its owner and its group may read, and nobody may write. Raises OSError."""
    source, _size = files.open_plain(path, follow=False)
    with source:
        mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
        os.fchmod(source.fileno(), (mode | stat.S_IRUSR | stat.S_IRGRP) & 0o555)
