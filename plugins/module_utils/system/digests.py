"""The digests of canvas-fleet: SHA-256 of content, and what git and OpenPGP name things by."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress

from . import limits
from .files import open_plain, read

BLOCK = 4 << 20  # bytes read at once
HOLES = 1 << 30  # bytes of a file that may be holes; what we hash is data


def sha256(*parts: bytes | str) -> str:
    """Digest of these bytes and UTF-8 texts in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def running() -> hashlib._Hash:
    """A SHA-256 that grows with update()."""
    return hashlib.sha256()


def of_file(
    path: str | os.PathLike[str],
    *,
    each: Callable[[bytes], None] | None = None,
    stop: Callable[[], bool] | None = None,
    cold: bool = False,
) -> str:
    """SHA-256 of a plain file; "" when stopped. `each` sees every block; `cold` leaves the page cache as it was.

    It ends whatever the file's owner does: what is appended meanwhile is not read, and a file of holes is refused.
    Raises OSError.
    """
    digest, done = hashlib.sha256(), 0
    source, size = open_plain(path)
    with source:
        _refuse_holes(source.fileno(), size, path)
        while block := source.read(min(BLOCK, size - done)):
            if stop and stop():
                return ""
            digest.update(block)
            done += len(block)
            if each:
                each(block)
            if cold:
                with suppress(OSError, AttributeError):
                    os.posix_fadvise(source.fileno(), 0, done, os.POSIX_FADV_DONTNEED)
    return digest.hexdigest()


def _refuse_holes(fd: int, size: int, path: str | os.PathLike[str]) -> None:
    """A file of 8 EiB may take no room at all. Each piece of data ends a hole, so their number is bounded, too."""
    at = holes = 0
    while at < size and holes <= HOLES:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
            at, holes = os.lseek(fd, data, os.SEEK_HOLE), holes + data - at
        except OSError as error:
            if error.errno != errno.ENXIO:  # a file system that knows no holes
                break
            at, holes = size, holes + size - at
    os.lseek(fd, 0, os.SEEK_SET)
    if holes > HOLES:
        raise OSError(errno.EFBIG, f"more than {HOLES >> 30} GiB of it are holes without data", os.fspath(path))


def of_small(path: str) -> str:
    """SHA-256 of a plain file of at most limits.SCRIPT_BYTES bytes; "" when it is none."""
    try:
        return sha256(read(path, limits.SCRIPT_BYTES))
    except OSError:
        return ""


def git_blob(size: int) -> hashlib._Hash:
    """The running name that git gives a file of this size."""
    return hashlib.sha1(f"blob {size}\0".encode())  # noqa: S324 - git's own naming, beside the size


def openpgp_v4(key: bytes) -> str:
    """The fingerprint of a version 4 key packet's body (RFC 4880, 12.2)."""
    return hashlib.sha1(b"\x99" + len(key).to_bytes(2, "big") + key).hexdigest().upper()  # noqa: S324 - the standard's


def short(*parts: bytes) -> bytes:
    """16 bytes by which contents are compared in memory."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.digest()
