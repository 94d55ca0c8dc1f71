"""On a host of full.py, as Python's sitecustomize: the disk gets full at the moment when a write of ours begins.

The write, and all that follow, are the real ones, on a disk that has no space or no inode left. Each place of our code
that writes is taken once; it is known by the first two lines outside `system/`, the door to the files.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any

FOLDER = "/var/chaos-full"
CORE, DOOR = "plugins/module_utils/", "plugins/module_utils/system/"
FILLER = ".filled"
PAGE = 4096
real_open = os.open


def place() -> str:
    """Who writes, "" for whatever is not ours."""
    frame = sys._getframe(2)
    if DOOR not in frame.f_code.co_filename:
        return ""
    found: list[str] = []
    at: types.FrameType | None = frame
    while at and len(found) < 2:
        path = at.f_code.co_filename
        if CORE in path and DOOR not in path:
            found.append(f"{path.partition(CORE)[2]}:{at.f_code.co_name}:{at.f_lineno}")
        at = at.f_back
    return " < ".join(found) or f"{frame.f_code.co_name}:{frame.f_lineno}"  # the lock of the host, say


def due(disks: list[str], path: str) -> str:
    """The disk on which `path` lies."""
    return max((disk for disk in disks if f"{path}/".startswith(f"{disk}/")), key=len, default="")


def consider(who: str, path: str, folder: int | None, grows: bool) -> None:
    try:
        with open(f"{FOLDER}/order.json", encoding="utf-8") as source:
            order = json.load(source)
        with open(f"{FOLDER}/tried", encoding="utf-8") as source:
            tried = source.read().splitlines()
    except OSError:
        return
    whole = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path) if folder is not None else os.path.abspath(path)
    disk = due(order["disks"], whole)
    line = f"{disk} {who}"
    if not disk or line in tried or os.path.exists(f"{FOLDER}/full/now") or not (grows or order["kind"] == "no inodes"):
        return
    for name, text in ((f"{FOLDER}/tried", f"{line}\n"), (f"{FOLDER}/full/now", f"{line} {whole}\n")):
        with open(name, "a", encoding="utf-8") as out:
            out.write(text)
    fill(f"{disk}/{FILLER}", order["kind"])


def fill(folder: str, kind: str) -> None:
    """Takes all that is left. Any account may write in `folder`."""
    number = 0
    try:
        while True:
            number += 1
            fd = real_open(f"{folder}/{os.getpid()}-{number}", os.O_CREAT | os.O_RDWR)
            try:
                while kind == "no space":
                    free = os.fstatvfs(fd)
                    os.posix_fallocate(fd, os.fstat(fd).st_size, max(PAGE, free.f_bavail * free.f_frsize))
            finally:
                os.close(fd)
    except OSError:
        return


def watched(real: Callable[..., Any], at: int, folder: str, flags: int = 0) -> Callable[..., Any]:
    """`real`, whose argument `at` is the path of what is made. `flags`: only with one of these, the argument after."""

    @functools.wraps(real)
    def call(*given: Any, **named: Any) -> Any:
        who = place() if not flags or (len(given) > at + 1 and given[at + 1] & flags) else ""
        if who:
            consider(who, os.fspath(given[at]), named.get(folder), bool(flags))
        return real(*given, **named)

    os.supports_dir_fd.add(call)
    return call


if os.path.exists(f"{FOLDER}/order.json"):
    os.open = watched(os.open, 0, "dir_fd", os.O_CREAT)
    os.mkdir = watched(os.mkdir, 0, "dir_fd")
    os.symlink = watched(os.symlink, 1, "dir_fd")
    os.link = watched(os.link, 1, "dst_dir_fd")
