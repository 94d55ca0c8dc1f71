"""The door to other programs: run to their end, or read line by line."""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..core.errors import FleetError

NOT_FOUND = 127
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAST = 31  # lines that are remembered of what a program says
FULL = re.compile(r"No space left on device|Disk quota exceeded|Errno (?:28|122)\b", re.IGNORECASE)
PIPE = 1 << 16  # bytes that a pipe holds
Process = subprocess.Popen
PIPED = subprocess.PIPE  # for start(): an end that closes when we do


@dataclass(frozen=True)
class Done:
    """Result of a program. 127: it could not be started, and `err` says why."""

    code: int
    out: str = ""
    err: str = ""

    def __bool__(self) -> bool:
        return self.code == 0


def find(name: str, path: str | None = None) -> str:
    """Path of the program, or "". `path`: folders to search, else those of the environment."""
    return shutil.which(name, path=path) or ""


def run(*argv: str, env: Mapping[str, str] | None = None, timeout: float | None = None) -> Done:
    """To its end; text, with nothing to read from. Raises TimeoutError after `timeout` seconds."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=env,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{argv[0]} did not end within {timeout:g} s") from error
    except OSError as error:
        return Done(NOT_FOUND, "", str(error))
    return Done(done.returncode, done.stdout, done.stderr)


def last(*argv: str, keep: int, timeout: float) -> Done:
    """To its end, with the last whole lines of its output, `keep` bytes at most. Raises TimeoutError as run() does."""
    try:
        process = start(*argv, stderr=subprocess.DEVNULL)
    except OSError as error:
        return Done(NOT_FOUND, "", str(error))
    ends = time.monotonic() + timeout
    over = threading.Timer(timeout, process.kill)
    over.start()
    kept, size = bytearray(), 0
    with process:
        while process.stdout and (block := os.read(process.stdout.fileno(), PIPE)):
            kept += block
            size += len(block)
            if len(kept) > 2 * keep:
                del kept[:-keep]
    over.cancel()
    if time.monotonic() >= ends:
        raise TimeoutError(f"{argv[0]} did not end within {timeout:g} s")
    found = bytes(kept[-keep:])
    return Done(process.returncode, (found.partition(b"\n")[2] if size > keep else found).decode("utf-8", "replace"))


def follow(
    *argv: str, each: Callable[[str], None] | None = None, env: Mapping[str, str] | None = None, user: str = ""
) -> tuple[int, list[str]]:
    """To its end; every line of both streams goes into our own output, and to `each`, as it comes. `user`: who runs it.

    Returns the exit code and the last lines. Raises OSError when it cannot be started.
    """
    last: deque[str] = deque(maxlen=LAST)
    how = _as(user) if user else {}
    with start(*argv, env=env, stderr=subprocess.STDOUT, text=True, errors="replace", **how) as process:
        for line in process.stdout or ():
            sys.stdout.write(line)
            sys.stdout.flush()
            last.append(line.rstrip())
            if each:
                each(line)
    return process.returncode, list(last)


def _as(user: str) -> dict[str, Any]:
    """For Popen; who is not root stays who they are. Raises KeyError."""
    found = pwd.getpwnam(user)
    if os.geteuid() != 0:
        return {}
    groups = os.getgrouplist(user, found.pw_gid)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups, "cwd": "/"}


def must(
    *argv: str,
    each: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
    user: str = "",
    writes: str = "",
) -> None:
    """Like follow(), with more environment variables. Raises FleetError with the program's last lines, and OSError for
    a full disk: by its words, or by the folder that it `writes`."""
    sys.stdout.write(f"+ {' '.join(argv)}\n")
    try:
        code, last = follow(*argv, each=each, env=environment(**(env or {})), user=user)
    except OSError as error:
        raise FleetError(f"{argv[0]} cannot be run", found=str(error)) from error
    if code:
        said = [line.strip() for line in last]
        raise_if_full(argv[0], said, writes)
        errors = [line for line in said if line.startswith(("E:", "ERROR", "Error"))] or said[-3:]
        raise FleetError(f"{argv[0]} failed", found="; ".join(errors[-4:]))


def raise_if_full(program: str, said: Sequence[str], folder: str = "") -> None:
    """Raises OSError where a program failed because the disk is full: who calls it blames nothing else for that.

    `folder`: where it wrote, for a program that may not name the cause.
    """
    line = next((line for line in said if FULL.search(line)), "")
    if folder and said and not line:
        with suppress(FileNotFoundError):
            found = os.statvfs(folder)
            line = said[-1] if found.f_bavail == 0 or (found.f_files and found.f_favail == 0) else ""
    if line:
        raise OSError(errno.ENOSPC, line[-300:].strip(), program)


def start(*argv: str, **how: Any) -> subprocess.Popen[Any]:
    """The running program: nothing to read from, its output in pipes unless `how` (as for Popen) says otherwise."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(argv, **{**pipes, **how})


def environment(*, drop: Sequence[str] = (), **more: str) -> dict[str, str]:
    """Our environment variables without those that begin with one of `drop`, plus `more`."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(tuple(drop))}, **more}
