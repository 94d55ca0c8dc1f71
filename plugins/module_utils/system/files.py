"""The door to the files of a host: plain files are read within bounds, written whole, moved and removed.

What is written is written beside under a name of this writer alone and renamed: a reader sees the old file or the new
one. How a path is walked, and as whom, is `reach`'s matter.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import re
import secrets
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Literal, Union

from . import limits
from .ownership import Owner
from .reach import Place, give, reach

Path = Union[str, "os.PathLike[str]"]
LINE = 1 << 16  # characters of a line that is printed
COPIED = 10.0  # seconds for the last lines; a program that was left behind may hold the pipe for ever
BLOCK = 1 << 20  # bytes read at once; of a file in /proc/sys the kernel gives none to who asks for 4 MiB
STALE = 3600.0  # seconds after which the part of an interrupted writer is removed
NOBODY = Owner()


def open_plain(path: Path, follow: bool = True) -> tuple[BinaryIO, int]:
    """The open file and its size in bytes. Raises OSError for what is absent or no plain file, and never waits.

    `follow` says whether a link at the end of the path may lead elsewhere.
    """
    with reach(path, follow=follow) as place:
        _refuse_special(place.stat(), path)
        with place.acting():
            fd = os.open(place.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
    return _plain(fd, "rb", path)


class _Source(io.FileIO):
    """Raises where a file of the kernel would be waited for; Python's own gives None, which no reader expects."""

    def readinto(self, buffer: Any) -> int:
        number = super().readinto(buffer)
        if number is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return number


def _plain(fd: int, how: Literal["rb", "r+b"], path: Path) -> tuple[BinaryIO, int]:
    try:
        status = os.fstat(fd)
        _refuse_special(status, path)
        stream = _Source(fd, how)
        return (io.BufferedReader if how == "rb" else io.BufferedRandom)(stream), status.st_size
    except BaseException:
        with suppress(OSError):
            os.close(fd)
        raise


def _refuse_special(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is not a file", os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a file", os.fspath(path))


def read(path: Path, limit: int = limits.FILE_BYTES, *, follow: bool = True) -> bytes:
    """The content of a plain file. Raises OSError for any other, and for more than `limit` bytes."""
    source, _status = open_plain(path, follow)
    data = bytearray()
    with source:
        while len(data) <= limit and (block := source.read(BLOCK)):
            data += block
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"has more than {limit} bytes", os.fspath(path))
    return bytes(data)


def text(path: Path, limit: int = limits.FILE_BYTES, *, follow: bool = True) -> str:
    """The file as text, "" where it cannot be read; bytes that are no UTF-8 are replaced."""
    try:
        return read(path, limit, follow=follow).decode("utf-8", "replace")
    except OSError:
        return ""


def kernel(path: str) -> bytes:
    """A file of /proc or /sys, where no account can write files: thousands are read at once. Raises OSError."""
    if not path.startswith(("/proc/", "/sys/")):
        raise ValueError(path)
    with open(path, "rb") as source:
        return source.read()


def tail(path: Path, limit: int) -> bytes:
    """The last `limit` bytes; nothing for what is absent or a link."""
    try:
        source, size = open_plain(path, follow=False)
    except OSError:
        return b""
    with source:
        source.seek(max(0, size - limit))
        return source.read(limit)


def load(path: Path, limit: int = limits.RECORD_BYTES, *, follow: bool = True) -> dict[str, Any]:
    """The JSON mapping in a file; {} for what is absent, too large, or no mapping."""
    try:
        found = json.loads(read(path, limit, follow=follow))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, data: bytes, mode: int = 0o644, owner: Owner = NOBODY, *, durable: bool = True) -> None:
    """Write a file atomically. `owner`: its owner, else the writer; in an account's folder never root. Raises OSError;
    the old file is then unchanged.

    durable: also after a power cut; a caller that writes thousands of files syncs once instead.
    """
    with reach(path) as place:
        _write(place, data, mode, owner, durable)


def rewrite(path: Path, data: bytes, *, durable: bool = True) -> None:
    """New content for a file that is there, with its permissions and its owner. Never root's in an account's folder."""
    with reach(path) as place:
        info = place.stat()
        _write(place, data, stat.S_IMODE(info.st_mode) & 0o777, Owner(info.st_uid, info.st_gid), durable)


def save(path: Path, value: Any, mode: int = 0o644, owner: Owner = NOBODY, *, durable: bool = True) -> None:
    """A value as JSON."""
    write(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode(), mode, owner, durable=durable)


def _write(place: Place, data: bytes, mode: int, owner: Owner, durable: bool) -> None:
    with suppress(FileNotFoundError):
        _refuse_special(place.stat(), place.name)  # a masked unit is a link to /dev/null
    _clear_stale(place)
    part = _part(place)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with place.acting():
        fd = os.open(part, flags, 0o600, dir_fd=place.fd)
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(data)
            out.flush()
            with place.acting():
                os.fchmod(fd, mode)
            if not place.linked and (owner.uid or not place.account):  # the account may still hold it open
                give(fd, owner)
            if durable:
                os.fsync(fd)
        with place.acting():
            os.replace(part, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
    except BaseException:
        with suppress(OSError), place.acting():
            os.unlink(part, dir_fd=place.fd)
        raise
    if durable:
        _sync(place)


def _part(place: Place) -> str:
    """A name beside the file that no other writer has, and that _clear_stale finds."""
    return f".{place.name}.{secrets.token_hex(4)}.canvas-fleet"


def _clear_stale(place: Place) -> None:
    """Temporary files of interrupted writers of this file."""
    pattern = re.compile(re.escape(f".{place.name}.") + r"([0-9a-f]{8}\.)?canvas-fleet")
    with suppress(OSError):
        fd = place.opened()
        try:
            old = [name for name in os.listdir(fd) if pattern.fullmatch(name)]
        finally:
            os.close(fd)
        with place.acting():
            for name in old:
                if time.time() - os.stat(name, dir_fd=place.fd, follow_symlinks=False).st_mtime > STALE:
                    os.unlink(name, dir_fd=place.fd)


def _sync(place: Place) -> None:
    """Flush renames in a folder to the disk. Network file systems may refuse; that is accepted."""
    with suppress(OSError):
        fd = place.opened()
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def sync_folder(path: Path) -> None:
    """Flush renames and new files in this folder to the disk, if its file system allows."""
    with suppress(OSError), reach(os.path.join(path, "-")) as place:
        _sync(place)


def sync(path: Path) -> None:
    """A file's content outlives a power cut from here on. Raises OSError."""
    source, _status = open_plain(path)
    with source:
        os.fsync(source.fileno())


def let_group_read(path: Path) -> None:
    """A plain file that its group may read; one that it may read stays as it is. Raises OSError."""
    source, _size = open_plain(path, follow=False)
    with source:
        mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
        if not mode & stat.S_IRGRP:
            os.fchmod(source.fileno(), mode | stat.S_IRGRP)


def open_part(path: Path, mode: int = 0o600) -> BinaryIO:
    """A file to be written piece by piece, made where it is absent, at its end. Raises OSError for a link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with reach(path, follow=False) as place, place.acting():
        fd = os.open(place.name, flags, mode, dir_fd=place.fd)
    out, _status = _plain(fd, "r+b", path)
    out.seek(0, os.SEEK_END)
    return out


def add_line(path: Path, line: bytes, mode: int = 0o644) -> None:
    """One more line at the end of a file, on the disk when this returns; half a line of a killed writer ends before it.

    Several processes may add to one file. Raises OSError.
    """
    with open_part(path, mode) as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        end = out.seek(0, os.SEEK_END)
        out.seek(max(0, end - 1))
        whole = out.read(1) in (b"", b"\n")
        out.seek(0, os.SEEK_END)
        out.write((b"" if whole else b"\n") + line + b"\n")
        out.flush()
        os.fdatasync(out.fileno())


def copy(source: Path, part: Path, each: Callable[[bytes], object] = bytes) -> None:
    """The content of a plain file, in a new one that is its writer's. `each` sees every block. Raises OSError."""
    remove(part)
    found, _status = open_plain(source)
    with found, open_part(part) as out:
        while block := found.read(BLOCK):
            out.write(block)
            each(block)


def put(part: Path, path: Path, mode: int | None = None) -> None:
    """Rename a finished part to its final path and flush it. Raises OSError."""
    source, _status = open_plain(part, follow=False)
    with source:
        if mode is not None:
            os.fchmod(source.fileno(), mode)
        os.fsync(source.fileno())
    move(part, path)
    sync_folder(os.path.dirname(os.path.abspath(path)))


def move(source: Path, target: Path) -> None:
    """Renames a file, a folder or a link; a file at `target` is replaced. Raises OSError."""
    with reach(source, follow=False) as old, reach(target, follow=False) as new, (old if old.account else new).acting():
        os.replace(old.name, new.name, src_dir_fd=old.fd, dst_dir_fd=new.fd)


def link(source: Path, target: Path) -> None:
    """A second name for a file. Raises OSError."""
    with reach(source, follow=False) as old, reach(target, follow=False) as new, (old if old.account else new).acting():
        os.link(old.name, new.name, src_dir_fd=old.fd, dst_dir_fd=new.fd, follow_symlinks=False)


def point(path: Path, target: str) -> None:
    """Lets the link at `path` mean `target`, in one rename. Raises OSError."""
    with reach(path, follow=False) as place:
        _clear_stale(place)
        part = _part(place)
        with place.acting():
            os.symlink(target, part, dir_fd=place.fd)
            try:
                os.replace(part, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part, dir_fd=place.fd)
                raise


def remove(*paths: Path) -> None:
    """Removes files and links; what is absent is no error. Raises OSError."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError), reach(path, follow=False) as place, place.acting():
            os.unlink(place.name, dir_fd=place.fd)


def stays_below(path: str) -> bool:
    """True for a relative, normalised path below its folder."""
    plain = os.path.normpath(path) == path and not os.path.isabs(path) and "\0" not in path
    return plain and path.split("/")[0] not in ("..", ".")


@contextlib.contextmanager
def captured(path: Path, line: Callable[[str], str]) -> Iterator[None]:
    """Redirect the output of this process and its programs to a new file during the block, each line through `line`.

    What finds no room there is lost: the programs go on. Raises OSError where the file cannot be made.
    """
    remove(path)
    ends = os.pipe()
    out = open_part(path)
    with os.fdopen(ends[0], "r", errors="replace", newline="\n") as source:

        def copy() -> None:
            while text := source.readline(LINE):
                with suppress(OSError):
                    out.write(line(text.rstrip("\n")).encode("utf-8", "replace") + b"\n" * text.endswith("\n"))
                    out.flush()

        copier = threading.Thread(target=copy, daemon=True)
        copier.start()
        _print_to(ends[1])
        os.close(ends[1])
        try:
            yield
        finally:
            _print_to(out.fileno())
            copier.join(COPIED)
            with suppress(OSError):
                out.close()


def _print_to(fd: int) -> None:
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.dup2(fd, number)


@contextlib.contextmanager
def in_turn(path: Path, waits: Callable[[], None]) -> Iterator[None]:
    """One process at a time; `waits` is called, and sleeps, as long as another has its turn."""
    with contextlib.ExitStack() as held:
        while True:
            with suppress(BlockingIOError):
                held.enter_context(locked(path, wait=False))
                break
            waits()
        yield


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[int]:
    """One process at a time; yields the descriptor that holds the lock. Raises BlockingIOError unless `wait`."""
    with open_part(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield lock.fileno()
