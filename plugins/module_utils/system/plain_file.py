"""Reading files that lie in folders of a user who is not to be trusted: never a pipe, a device or a folder."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import BinaryIO


def open_plain(path: str, follow: bool = True) -> tuple[BinaryIO, int]:
    """The open file and its size in bytes. Raises OSError for what is absent or no plain file, and never waits.

    `follow` says whether a link at the end of the path may lead elsewhere.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "is not a file")
        return os.fdopen(descriptor, "rb"), status.st_size
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise
