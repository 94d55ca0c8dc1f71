"""New lines of a training's log and of its unit's journal, for whoever follows them. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...system import files, programs
from ...trainer.log import plain
from .read import read
from .want import Want

BEGIN = -1  # a place in the log: its last lines
BLOCK = 256 << 10  # bytes of the log in one answer; of a flood the newest
LINES, LETTERS = 1_000, 2_000  # in one answer, and of a line
SECONDS = 30.0  # for journalctl
CURSOR = "-- cursor: "


@dataclass(frozen=True)
class News:
    """`at`: bytes of the log that were read; `cursor`: the journal's own mark; `skipped`: bytes that a flood cost."""

    log: tuple[str, ...] = ()
    journal: tuple[str, ...] = ()
    at: int = BEGIN
    cursor: str = ""
    skipped: int = 0
    phase: str = "absent"


def news(want: Want, at: int, cursor: str, lines: int) -> News:
    """What came since; with BEGIN and "" the last `lines` of both."""
    log, now, skipped = _log(want.log, at, lines)
    journal, mark = _journal(f"{want.unit}.service", cursor, lines)
    return News(cut(log), cut(journal), now, mark, skipped, read(want).phase)


def _log(path: str, at: int, lines: int) -> tuple[list[str], int, int]:
    """Whole lines from `at` on, the place after them, and the bytes that were left out."""
    try:
        source, size = files.open_plain(path, follow=False)
    except OSError:
        return [], max(at, 0), 0  # a log that is yet to come is read from its beginning
    with source:
        begin = size if at == BEGIN else at if at <= size else 0  # shorter: it is another log
        first = max(0, size - BLOCK) if at == BEGIN else max(begin, size - BLOCK)
        source.seek(first)
        data = source.read(size - first)
    end = data.rfind(b"\n") + 1
    if first > begin or (at == BEGIN and first):  # in the middle of a line
        data = data[data.find(b"\n") + 1 : end]
    found = plain(data[:end].decode("utf-8", "replace"))
    return (found[-lines:] if lines else []) if at == BEGIN else found, first + end, max(0, first - begin)


def _journal(unit: str, cursor: str, lines: int) -> tuple[list[str], str]:
    since = ["--after-cursor", cursor, "-n", str(LINES)] if cursor else ["-n", str(lines)]
    try:
        shown = ["-q", "--no-pager", "-o", "short-iso", "--show-cursor", "-u", unit, *since]
        done = programs.last("journalctl", *shown, keep=LINES * LETTERS, timeout=SECONDS)
    except TimeoutError:
        return ["journalctl does not answer"], cursor
    found = plain(done.out)
    mark = found.pop()[len(CURSOR) :] if found and found[-1].startswith(CURSOR) else cursor
    return found, mark if done else ""


def cut(lines: Sequence[str]) -> tuple[str, ...]:
    """As many as fit into an answer. The controller cuts what it shows, too."""
    return tuple(line[:LETTERS] for line in lines[-LINES:])
