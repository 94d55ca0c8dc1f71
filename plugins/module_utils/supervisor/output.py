"""The trainer's output, bounded: floods are summed up, files are rotated."""

from __future__ import annotations

import codecs
import os
import re
from collections import deque
from collections.abc import Callable

from ..system import files
from ..trainer.log import plain

WINDOW = 60.0  # seconds of a budget
BUDGET = 200  # lines in a window that are passed on
LINE = 2000  # characters of a line that are passed on
ERRORS_LIMIT = 16 << 20  # bytes of errors.log before it is rotated
REPEATS = b"repeat in rank"  # the loader begins its data anew
SKIPS = b"skip a sample"


class LogRateLimiter:
    """Passes lines on until the window's budget is spent, then counts them and says how many there were."""

    def __init__(self, say: Callable[[str], None], budget: int = BUDGET, window: float = WINDOW) -> None:
        self._say, self._budget, self._window = say, budget, window
        self._begin, self._passed = 0.0, 0
        self._held, self._sample = 0, ""

    def text(self, line: str, now: float) -> None:
        self._turn(now)
        if self._passed < self._budget:
            self._passed += 1
            self._say(line[:LINE])
        else:
            self.held(1, line)

    def held(self, count: int, sample: str) -> None:
        self._held += count
        self._sample = sample[:200] or self._sample

    @property
    def shut(self) -> bool:
        return self._passed >= self._budget

    def tick(self, now: float) -> None:
        """Called from time to time, so that suppressed lines are reported even when no more come."""
        self._turn(now)

    def _turn(self, now: float) -> None:
        if now - self._begin >= self._window:
            self.close()
            self._begin, self._passed = now, 0

    def close(self) -> None:
        if self._held:
            self._say(f"… {self._held:,} like lines suppressed: {self._sample}")
            self._held = 0


class Stdout:
    """The trainer's standard output, in blocks of bytes: up to 19 MB/s when its loader starves."""

    def __init__(self, limiter: LogRateLimiter) -> None:
        self._limiter, self._rest = limiter, b""
        self.repeats = 0  # lines of a loader that begins anew, since forget()

    def forget(self) -> None:
        self.repeats = 0

    def feed(self, block: bytes, now: float) -> None:
        self.repeats += block.count(REPEATS) + block.count(SKIPS)
        self._limiter.tick(now)
        if self._limiter.shut:
            head, newline, rest = block.rpartition(b"\n")
            if newline:
                last = head.rpartition(b"\n")[2]
                self._limiter.held(head.count(b"\n") + 1, _text(last))
            self._rest = (rest if newline else self._rest + rest)[-LINE:]
            return
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()[-LINE:]
        for line in lines:
            for text in plain(_text(line)):
                self._limiter.text(text, now)


class Stderr:
    """The trainer's error stream: every line to `line`, to a file of bounded size, and the last ones kept in memory."""

    def __init__(self, path: str, line: Callable[[str], None], limit: int = ERRORS_LIMIT) -> None:
        self._path, self._line, self._limit = path, line, limit
        self._rest, self._decoder = "", codecs.getincrementaldecoder("utf-8")("replace")
        self.lines: deque[str] = deque(maxlen=4000)
        self.lost = ""  # why the file could not be written
        self._file: int | None = None
        self._size = 0
        self._open()

    def _open(self) -> None:
        """A file per start; the two before it are kept. A disk that is full takes the file, not the training."""
        try:
            for older, newer in ((f"{self._path}.2", f"{self._path}.1"), (f"{self._path}.1", self._path)):
                if os.path.lexists(newer):
                    files.move(newer, older)
            with files.open_part(self._path, 0o644) as out:
                out.truncate(0)
                self._file, self._size = os.dup(out.fileno()), 0
            os.lseek(self._file, 0, os.SEEK_SET)
        except OSError as error:
            self._file, self.lost = None, str(error)

    def feed(self, block: bytes) -> None:
        self._keep(block)
        text = self._rest + self._decoder.decode(block)
        whole = re.split(r"\r\n|\n|\r", text)
        self._rest = whole.pop()[-100_000:]
        for raw in whole:
            for line in plain(raw):
                self.lines.append(line[:LINE])
                self._line(line)

    def close(self) -> None:
        if self._rest:
            self.feed(b"\n")
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _keep(self, block: bytes) -> None:
        if self._file is None:
            return
        if self._size + len(block) > self._limit:
            os.close(self._file)
            self._open()
            if self._file is None:
                return
        try:
            self._size += os.write(self._file, block)
        except OSError as error:
            self.lost = str(error)

    def text(self) -> str:
        return "\n".join([*self.lines, *plain(self._rest)])


def _text(line: bytes) -> str:
    return line[-LINE:].decode("utf-8", "replace")
