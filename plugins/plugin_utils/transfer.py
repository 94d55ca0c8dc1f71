# SPDX-License-Identifier: Apache-2.0
"""One file from a host by OpenSSH's sftp, with the settings of Ansible's own connection.

Why SFTP: it comes with every OpenSSH, while rsync may be absent on either side. The client writes to the one name that
is given to it, whatever the server says. It goes on where it was cut (reget). More than the announced size ends it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ansible import constants

from ..module_utils.core import progress
from ..module_utils.core.errors import FleetError
from ..module_utils.system import files, folders, programs
from ..module_utils.system.digests import of_file, sha256
from .retry import Clock

LOOK = 0.2  # seconds between two looks at the file
STALL = 60.0  # seconds after which a transfer that brought less than LEAST is begun again
LEAST = 1 << 20  # bytes; a host that drips counts as one that sends nothing
PAUSE = 2.0  # seconds before that
ENDS = 10.0  # seconds that sftp has to end
EVERY = 10.0  # seconds between two lines
SAID, WORDS = 1 << 16, 4_000  # bytes that a pipe holds of what sftp says, and the last ones that are looked at
SHORTER = "larger than remote"  # the part, says sftp, and ends with an error
DENIED = ("permission denied", "not found", "no such file")


class OtherContentError(FleetError):
    """The file on the host is not the announced one."""


@dataclass
class Total:
    """Bytes over all files of a fetch."""

    total: int
    done: int = 0


class Transfer:
    """`command`: sftp with all its options and the host, made anew for each try."""

    def __init__(
        self, command: Callable[[], Sequence[bytes]], show: Callable[[str], None], clock: Clock, seconds: float
    ) -> None:
        self._command, self._show, self._clock, self._seconds = command, show, clock, seconds
        self._shown = float("-inf")
        self._record: dict[str, object] = {}
        self._progress = progress.Progress(self._record.update, clock.monotonic)

    def bring(self, remote: str, part: str, size: int, total: Total) -> None:
        """All `size` bytes into `part`, which may hold some already. Raises FleetError when it cannot be brought."""
        if size_of(part) > size:
            files.remove(part)
        files.open_part(part, 0o666).close()  # and the user's umask
        since, have = self._clock.monotonic(), size_of(part)
        while size_of(part) < size:
            status, words = self._try(remote, part, size, total)
            now, got = self._clock.monotonic(), size_of(part)
            if got >= size:
                break
            if any(word in words.lower() for word in DENIED):
                raise _denied(remote, words)
            if status == 0 or SHORTER in words:
                raise OtherContentError(
                    "a file has become shorter", found=f"{remote}: {got} of {size} bytes", remedy="fetch again"
                )
            if got - have >= LEAST:
                since, have = now, got
            elif now - since >= self._seconds:
                raise FleetError(
                    "a file could not be fetched",
                    found=f"{remote}: {got} of {size} bytes; {words or 'the host sends nothing more'}",
                    remedy="run it again when the host can be reached; it goes on from here",
                )
            self._clock.sleep(PAUSE)
        if size_of(part) > size:  # a log that has grown, or a host that sends more than it announced
            with files.open_part(part) as out:
                out.truncate(size)
        total.done += size

    def _try(self, remote: str, part: str, size: int, total: Total) -> tuple[int, str]:
        """One call of sftp, to its end or until there is enough; its status, and what it said."""
        batch = os.path.join(str(vars(constants)["DEFAULT_LOCAL_TMP"]), f"canvas-fleet-{sha256(part)[:16]}.sftp")
        files.write(batch, f"reget {shlex.quote(remote)} {shlex.quote(part)}\n".encode(), 0o600, durable=False)
        orders, _status = files.open_plain(batch)
        with orders:
            command = [os.fsdecode(word) for word in self._command()]
            process = programs.start(*command, stdin=orders)  # in our group, which Ansible ends as a whole
        try:
            self._watch(process, part, size, total)
        finally:
            end(process)
            files.remove(batch)
        return process.returncode, said_by(process)

    def _watch(self, process: programs.Process[bytes], part: str, size: int, total: Total) -> None:
        moved, mark = self._clock.monotonic(), size_of(part)
        last = mark
        while process.poll() is None and last <= size:
            self._clock.sleep(LOOK)
            now, have = self._clock.monotonic(), size_of(part)
            last = have
            if have - mark >= LEAST:
                moved, mark = now, have
            elif now - moved >= STALL:
                return
            self._progress(total.done + min(have, size), total.total, "B", os.path.basename(remote_name(part)))
            if now - self._shown >= EVERY:
                self._show(progress.line(progress.reading(self._record, now)))
                self._shown = now


def remote_name(part: str) -> str:
    return part[: -len(".part")] if part.endswith(".part") else part


def end(process: programs.Process[bytes]) -> None:
    """It is over, whatever state it is in."""
    if process.poll() is None:
        process.terminate()
        with suppress(Exception):
            process.wait(ENDS)
    if process.poll() is None:
        process.kill()
        process.wait()


def said_by(process: programs.Process[bytes]) -> str:
    """The last words of a program that is over. A child of it may hold the pipe for ever: what is there is enough."""
    if process.stderr is None:
        return ""
    os.set_blocking(process.stderr.fileno(), False)
    said = process.stderr.read(SAID) or b""
    return " ".join(said[-WORDS:].decode("utf-8", "replace").split())


def size_of(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


class Digests:
    """SHA-256 of files here: 29 GB take a minute or more, and a line says from time to time how far it is."""

    def __init__(self, show: Callable[[str], None], clock: Clock) -> None:
        self._show, self._clock, self._shown = show, clock, clock.monotonic()
        self._record: dict[str, object] = {}
        self._progress = progress.Progress(self._record.update, clock.monotonic)

    def __call__(self, path: str) -> str:
        """Raises OSError."""
        size, done = size_of(path), 0

        def each(block: bytes) -> None:
            nonlocal done
            done += len(block)
            now = self._clock.monotonic()
            self._progress(done, size, "B", f"reads {os.path.basename(remote_name(path))}, which is here")
            if now - self._shown >= EVERY:
                self._show(progress.line(progress.reading(self._record, now)))
                self._shown = now

        return of_file(path, each=each)


def need_room(folder: str, size: int) -> None:
    """Raises FleetError when the folder's disk does not have so many bytes left."""
    free = folders.free(folder)
    if size > free:
        raise FleetError(
            "the controller's disk is too small",
            variable="training_fetch_dir",
            found=f"{folder}: {progress.amount(free, 'B')} free",
            expected=f"{progress.amount(size, 'B')} for what is still to be fetched",
            remedy="free some space, or name another folder (-e training_fetch_dir=…)",
        )


def _denied(remote: str, words: str) -> FleetError:
    return FleetError(
        "the login user may not read this file, or it is gone",
        variable="fleet_readers",
        found=f"{remote}: {words}",
        expected="a login user that is one of fleet_readers",
        remedy="put @login into fleet_readers and converge (site.yml); then fetch again",
    )
