"""The losses of a run as a table for programs: one row for each step line of the log. Pure.

A start that resumes makes steps again. Their rows take the place of the older ones, and so no step is there twice.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .log import Reader, Step

FIRST, LAST = ("step", "time"), "steps_per_second"
USUAL = ("ce", "mse")  # losses of the trainer; another one gets a column when it comes
ROWS = 2_000_000  # of a table; the log is a file that anybody in the training's account can write
NAMES = 20  # of losses
ANEW = "anew"  # no row
STEP = re.compile(r"[0-9]{1,15}")
_TIME = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\]")


@dataclass(frozen=True)
class Row:
    """`time`: as the log has it, in the host's own zone."""

    step: int
    time: str
    losses: dict[str, str]
    rate: str


class Losses:
    """The table, fed with plain lines of the log."""

    def __init__(self) -> None:
        self.names: list[str] = list(USUAL)
        self.rows: list[Row] = []
        self._reader = Reader(keep=1)

    def feed(self, line: str) -> str:
        """The row to be appended to the text, "" for none; ANEW when the whole text is to be written again."""
        step = self._reader.feed(line)
        if step is None or len(self.rows) >= ROWS:
            return ""
        anew = self._add(_row(step, line))
        return ANEW if anew else self._line(self.rows[-1])

    def _add(self, row: Row) -> bool:
        known = len(self.names)
        self.names += sorted(set(row.losses) - set(self.names))[: NAMES - known]
        again = bool(self.rows) and row.step <= self.rows[-1].step
        while self.rows and self.rows[-1].step >= row.step:
            self.rows.pop()
        self.rows.append(row)
        return again or len(self.names) > known

    def text(self) -> str:
        """The whole table, with its header."""
        return _csv([[*FIRST, *self.names, LAST]]) + "".join(map(self._line, self.rows))

    def _line(self, row: Row) -> str:
        return _csv([[str(row.step), row.time, *(row.losses.get(name, "") for name in self.names), row.rate]])

    def read(self, text: str) -> None:
        """Takes up the rows of an earlier text; a line that is no row, or was cut, is left out."""
        lines = _cells(text.rpartition("\n")[0])
        header = next(lines, [])
        if header[:2] != list(FIRST) or header[-1:] != [LAST]:
            return
        for cells in lines:
            if len(cells) == len(header) and STEP.fullmatch(cells[0]) and len(self.rows) < ROWS:
                losses = {name: cell for name, cell in zip(header[2:-1], cells[2:-1]) if _is_number(cell)}
                self._add(Row(int(cells[0]), cells[1][:19], losses, cells[-1] if _is_number(cells[-1]) else ""))


def _cells(text: str) -> Iterator[list[str]]:
    """The cells of each line; a line that is no CSV, as with a cell of more than 128 KiB, is left out."""
    lines = csv.reader(io.StringIO(text))
    while True:
        try:
            yield next(lines)
        except csv.Error:
            continue
        except StopIteration:
            return


def _row(step: Step, line: str) -> Row:
    time = _TIME.search(line)
    losses = {name: repr(value) for name, value in step.losses.items()}
    return Row(step.step, time[1] if time else "", losses, "" if step.rate is None else repr(step.rate))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _csv(rows: Iterable[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
