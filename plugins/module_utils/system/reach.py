"""The way to a file: every folder on it is opened by name, and no link of another account leads root anywhere.

A link of root in a folder of root is followed. Any other link is followed as the account that made it, and everything
beyond it is done as that account. So root reaches only what the account itself could reach. In a folder of
an account files are read, written and removed as that account. A process that is not root has nothing to give away.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from ..core.errors import FleetError
from .ownership import Owner, acting_as

T = TypeVar("T")
LINKS = 40  # that one way may lead over, as the kernel allows
FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", 0)


@dataclass(frozen=True)
class Account:
    """The account as which root acts."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    def acting(self) -> AbstractContextManager[None]:
        return acting_as(self.uid, self.gid, self.groups)


@dataclass(frozen=True)
class Make:
    """Owner of new folders, and the mode of the last one (0755 above it)."""

    owner: Owner
    mode: int


@dataclass
class Place:
    """A name in an open folder. `account`: who acts there, None for ourselves; `linked`: a link of theirs led here."""

    fd: int
    name: str
    account: Account | None = None
    linked: bool = False

    def acting(self) -> AbstractContextManager[None]:
        return self.account.acting() if self.account else nullcontext()

    def stat(self) -> os.stat_result:
        """lstat of the name itself. Raises FileNotFoundError."""
        with self.acting():
            return os.stat(self.name, dir_fd=self.fd, follow_symlinks=False)

    def opened(self) -> int:
        """The folder, open for reading. Raises OSError."""
        with self.acting():
            return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)


@contextmanager
def reach(path: str | os.PathLike[str], *, follow: bool = True, make: Make | None = None) -> Iterator[Place]:
    """The place of `path`, whose last name need not exist. Without `follow` a link there is the place itself.

    Raises OSError for a folder that is absent (unless `make`) or cannot be passed.
    """
    full = os.path.abspath(path)
    place: Place | None = None
    try:
        place = _walk(full, follow, make) if os.geteuid() == 0 else Place(*_follow(None, full, follow, make))
        yield place
    except OSError as error:
        if error.errno and not os.path.isabs(str(error.filename or "")):  # what a write raises names no file
            error.filename = full
            error.filename2 = None
        raise
    finally:
        if place:
            os.close(place.fd)


def whose(folder: str) -> Account | None:
    """The account that can exchange what lies in an existing folder, None where only root (or who we are) can.

    Its link led here, or it owns the folder or the nearest one above that is not root's. Raises OSError.
    """
    with reach(os.path.join(folder, "-")) as place:
        if place.account or folder == "/":
            return place.account
    return whose(os.path.dirname(os.path.abspath(folder)))


@contextmanager
def as_owner(folder: str) -> Iterator[None]:
    """Act as the owner of the checkpoints, so a link there reaches nothing of root's.

    Raises FleetError when there is no such folder.
    """
    try:
        account = whose(folder)
    except OSError as error:
        found = f"{folder}: {error.strerror}"
        raise FleetError("there are no checkpoints", variable="training_checkpoint_dir", found=found) from error
    with account.acting() if account else nullcontext():
        yield


def _walk(path: str, follow: bool, make: Make | None) -> Place:
    """Open as root, folder by folder."""
    names, here, links = _names(path), "/", 0
    fd = os.open("/", FOLDER)
    try:
        while True:
            name = names.pop(0) if names else "."
            info = _seen(fd, name)
            if info and stat.S_ISLNK(info.st_mode) and (names or follow):
                links += 1
                if links > LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                folder = os.fstat(fd)
                if info.st_uid or folder.st_uid:
                    return _linked(fd, "/".join([name, *names]), info.st_uid or folder.st_uid, follow, make)
                target = os.path.normpath(os.path.join(here, os.readlink(name, dir_fd=fd)))
                names, here = [*_names(target), *names], "/"
                fd = instead(fd, os.open("/", FOLDER))
            elif not names:
                return Place(fd, name, account_of(os.fstat(fd)))
            else:
                new = make if info is None else None
                fd = instead(fd, _made(fd, name, new, last=len(names) == 1) if new else _into(fd, name))
                here = os.path.join(here, name)
    except BaseException:
        os.close(fd)
        raise


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def instead(old: int, new: int) -> int:
    """The new folder, when the old one is closed."""
    os.close(old)
    return new


def _seen(fd: int, name: str) -> os.stat_result | None:
    try:
        return _tried(fd, lambda: os.stat(name, dir_fd=fd, follow_symlinks=False))
    except FileNotFoundError:
        return None


def _into(fd: int, name: str) -> int:
    return _tried(fd, lambda: os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=fd))


def _tried(fd: int, call: Callable[[], T]) -> T:
    """Act as root, or as the folder's owner where root may not (network file systems)."""
    try:
        return call()
    except PermissionError:
        account = account_of(os.fstat(fd))
        if account is None:
            raise
        with account.acting():
            return call()


def _made(fd: int, name: str, make: Make, *, last: bool) -> int:
    """A new folder in `fd`, and root's own hand on it only to give it to its owner."""
    account = account_of(os.fstat(fd))
    part = f".{name}.canvas-fleet"  # it has its name once it is its owner's
    with account.acting() if account else nullcontext():
        with suppress(FileExistsError):
            os.mkdir(part, 0o700, dir_fd=fd)
        try:
            new = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        except FileNotFoundError:  # another process that makes the same folder has given it its name
            return _into(fd, name)
        os.fchmod(new, make.mode if last else 0o755)  # as the account: another's folder in this place is refused
    give(new, make.owner)
    try:
        with account.acting() if account else nullcontext():
            os.rename(part, name, src_dir_fd=fd, dst_dir_fd=fd)
    except OSError:  # made by another process at the same time
        os.close(new)
        return _into(fd, name)
    return new


def give(fd: int, owner: Owner) -> None:
    """Give the open, new file or folder to the owner. Does nothing without an owner, or if it already is the
    owner's."""
    info = os.fstat(fd)
    if owner.uid is not None and owner.gid is not None and (info.st_uid, info.st_gid) != (owner.uid, owner.gid):
        os.fchown(fd, owner.uid, owner.gid)


def _linked(fd: int, rest: str, uid: int, follow: bool, make: Make | None) -> Place:
    """Beyond a link of an account: as that account, by the kernel's own ways."""
    account = _account(uid, os.fstat(fd).st_gid)
    with account.acting():
        found, name = _follow(fd, rest, follow, make)
    os.close(fd)
    return Place(found, name, account, linked=True)


def _follow(fd: int | None, path: str, follow: bool, make: Make | None) -> tuple[int, str]:
    """The open folder and the last name of a path that may lead over links, by the rights of whom we act as."""
    opened: list[int] = []
    try:
        for _again in range(LINKS):
            folder, name = os.path.split(path.rstrip("/"))
            if make and folder:
                _folders(fd, folder, make.mode)
            fd = os.open(folder or ".", FOLDER, dir_fd=fd)
            opened.append(fd)
            path = _target(name, fd) if follow else ""
            if not path:
                return opened.pop(), name or "."
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    finally:
        for one in opened:
            os.close(one)


def _target(name: str, fd: int) -> str:
    """Target of a link; "" without a link."""
    try:
        return os.readlink(name, dir_fd=fd)
    except OSError:
        return ""


def _folders(fd: int | None, path: str, mode: int) -> None:
    try:
        os.mkdir(path, mode, dir_fd=fd)
    except FileExistsError:
        return
    except FileNotFoundError:
        _folders(fd, os.path.dirname(path), 0o755)
        os.mkdir(path, mode, dir_fd=fd)
    made = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.fchmod(made, mode)
    finally:
        os.close(made)


def account_of(folder: os.stat_result) -> Account | None:
    """The account that acts in a folder: its owner, if we are root and it is not root's."""
    return _account(folder.st_uid, folder.st_gid) if folder.st_uid and os.geteuid() == 0 else None


def account_named(user: str) -> Account | None:
    """The account of this name; None where the host has none, or we are not root."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return None
    return _account(found.pw_uid, found.pw_gid) if os.geteuid() == 0 else None


@lru_cache(maxsize=64)
def _account(uid: int, gid: int) -> Account:
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return Account(uid, gid, (gid,))
    return Account(uid, found.pw_gid, tuple(os.getgrouplist(found.pw_name, found.pw_gid)))
