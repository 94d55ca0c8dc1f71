"""The door to git: one driver without prompts and without locks while it reads. It gives up on a silent server.

Git runs as the account that can exchange what lies in the folder, so that git's own ownership check is satisfied
without any configuration and nothing that the folder configures is run as root. Hooks and monitors of the folder are
not run, and what its filters do has a limit.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import IO, Any

from ..core.errors import FleetError
from ..core.masking import without_logins
from . import credentials, files, folders, programs
from .programs import SYSTEM_PATH
from .reach import whose

POLL = 0.5  # seconds between two looks at what has arrived
LONGEST = 600.0  # seconds that a command may take; a fetch may take longer
SILENCE = 120.0  # seconds without a byte after which the server counts as dead
OPTIONS = ("-c", "core.quotePath=false", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
KEPT = re.compile(r"(?i:\w+_proxy)|GIT_SSL_\w+|GIT_SSH\w*|SSH_AUTH_SOCK|SSL_CERT_FILE")
Tell = Callable[[int, int], None]  # bytes arrived, bytes in all (0: not known)


def find() -> str:
    """Path of git on this host, or "" ."""
    return programs.find("git", SYSTEM_PATH)


class Git:
    """Git in one folder. Output is bytes; paths are relative to the folder.

    `bare`: the folder is a repository without a work tree. `tell` gets the progress. `variable` names the
    repository in errors.
    """

    def __init__(self, folder: str, *, bare: bool = False, variable: str = "", tell: Tell | None = None) -> None:
        self.folder, self._bare, self._variable, self._tell = folder, bare, variable, tell
        self.binary = find()
        self._account = whose(folder)

    def __call__(
        self, *args: str, ok: Iterable[int] = (0,), lock: int | None = None, out: IO[bytes] | None = None
    ) -> bytes:
        """Run git. Raises FleetError with git's last words when the exit code is not in `ok`, OSError for a full disk.

        lock: a file descriptor that git inherits, so that the lock lives as long as git does.
        out: where the answer goes instead of being returned.
        """
        if not self.binary:
            raise FleetError(
                "git is not installed", found="no git on the host", expected="the role fleet_agent's packages"
            )
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
            code = self._run(args, lock, out or said, errors)
            said.seek(0)
            errors.seek(0)
            if code not in ok:
                words = without_logins(errors.read().decode(errors="replace")).strip().splitlines() or ["no message"]
                programs.raise_if_full(f"git {args[0]}", words, self.folder)
                found, expected = " / ".join(words[-4:]), f"exit code {list(ok)}"
                raise FleetError(f"git {args[0]} failed", found=found, expected=expected)
            return said.read()

    def _run(self, args: tuple[str, ...], lock: int | None, out: IO[bytes], errors: IO[bytes]) -> int:
        where = ("--git-dir", self.folder) if self._bare else ("-C", self.folder)
        options, answers = credentials.for_git()
        process = programs.start(
            *(self.binary, *OPTIONS, *options, *where, *args),
            stdout=out,
            stderr=errors,
            cwd="/",
            env={**self._env(), **answers},
            pass_fds=(lock,) if lock else (),
            start_new_session=True,  # its helpers end with it
            **self._user(),
        )
        try:
            if args[0] == "fetch" or self._bare:  # a repository without its blobs fetches them when they are asked for
                self._watch(process)
            code: int = process.wait(timeout=LONGEST)
            return code
        except subprocess.TimeoutExpired:
            why = f"git {args[0]} did not end within {LONGEST:g} s"
            raise TimeoutError(errno.ETIMEDOUT, why, self.folder) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _watch(self, process: subprocess.Popen[Any]) -> None:
        """Until git ends, or nothing arrives for SILENCE seconds: a dead peer keeps git waiting for ever."""
        before, since = -1, time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=POLL)
                return
            arrived = bytes_in(os.path.join(self.folder, "objects" if self._bare else ".git/objects"))
            if self._tell:
                self._tell(arrived, 0)
            if arrived != before:
                before, since = arrived, time.monotonic()
            elif time.monotonic() - since > SILENCE:
                raise FleetError(
                    "the git server went silent",
                    variable=self._variable,
                    found=f"nothing arrived for {SILENCE:.0f} s",
                    expected="an answer",
                    remedy="check the repository's server and the way to it, then run again",
                )

    def line(self, *args: str) -> str:
        """First line of the answer, "" when git fails."""
        try:
            return self(*args).decode(errors="replace").strip()
        except FleetError:
            return ""

    def _env(self) -> dict[str, str]:
        try:
            home = pwd.getpwuid(self._account.uid if self._account else os.geteuid()).pw_dir
        except KeyError:
            home = "/nonexistent"
        return {
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
            **credentials.with_logins({name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}),
            "PATH": SYSTEM_PATH,
            "HOME": home,
            "LC_ALL": "C.UTF-8",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
            "GIT_HTTP_LOW_SPEED_TIME": "60",
        }

    def _user(self) -> dict[str, Any]:
        return {"user": self._account.uid, "group": self._account.gid, "extra_groups": []} if self._account else {}

    def has(self, commit: str) -> bool:
        return self.answers("cat-file", "-e", f"{commit}^{{commit}}")

    def blob(self, commit: str, path: str) -> bytes | None:
        """A file of a commit, None when the commit has none of that name."""
        try:
            return self("cat-file", "blob", f"{commit}:{path}")
        except FleetError:
            return None

    def read(self, path: str) -> bytes | None:
        """A file of the work tree; a link is read as its target, as git stores it."""
        full = os.path.join(self.folder, path)
        try:
            if os.path.islink(full):
                return os.readlink(full).encode()
            return files.read(full)
        except OSError:
            return None

    def status(self) -> list[tuple[str, str]]:
        """(two letters of git status, path) of all that differs from HEAD, untracked files too, ignored ones not."""
        raw = self("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
        return [(part[:2], part[3:]) for part in raw.decode(errors="surrogateescape").split("\0") if part]

    def touched(self, target: str) -> set[str]:
        """Paths that differ between HEAD and target."""
        raw = self("diff", "--name-only", "-z", "--no-renames", "HEAD", target)
        return {part for part in raw.decode(errors="surrogateescape").split("\0") if part}

    def answers(self, *args: str) -> bool:
        """Does this command of git succeed?"""
        try:
            self(*args)
        except FleetError:
            return False
        return True


def bytes_in(folder: str) -> int:
    """Bytes of the files below a folder."""
    sizes = []
    for place, _folders, names in folders.walk(folder):
        for name in names:
            with suppress(OSError):
                sizes.append(os.stat(os.path.join(place, name)).st_size)
    return sum(sizes)
