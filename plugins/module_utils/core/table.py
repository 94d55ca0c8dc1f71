"""Rows of cells as lines for a person. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence

from . import shown

WIDE = 100  # letters of a cell, so that one row leaves the others readable; the last cell may have more
NONE = "–"  # a cell that has nothing to say
GAP = 2
HANG = 4  # where the columns begin that have no room in the first line of a row
TEXT = 30  # letters that the last column keeps, if it needs them, before it goes to a line of its own


def lines(
    rows: Sequence[Sequence[str]], *, indent: str = "", right: Collection[int] = (), width: int = 0, fold: int = 0
) -> list[str]:
    """Columns as wide as their widest cell; those in `right` end at one edge. Nothing stands behind the last cell.

    Where a row is longer than `width`, its last columns go to further lines, those from `fold` on in any case; the last
    cell is text, and is wrapped. Of a row those further lines are left out that have nothing to say.
    """
    room = min(WIDE, width - len(indent) - HANG) if width else WIDE
    rows = [[*(_short(cell, room) for cell in row[:-1]), *map(shown.line, row[-1:])] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    parts = _parts(widths, width - len(indent), fold) if width else [range(len(widths))]
    return [
        (indent + line).rstrip()
        for number, row in enumerate(rows)
        for place, part in enumerate(parts)
        if not place or not number or any(row[column] not in ("", NONE) for column in part)
        for line in _lines(row, widths, part, right, " " * HANG if place else "", width and width - len(indent))
    ]


def _parts(widths: Sequence[int], width: int, fold: int) -> list[range]:
    """The columns of each line."""
    needs = [*widths[:-1], *(min(need, TEXT) for need in widths[-1:])]
    fold = fold if sum(needs) + GAP * (len(needs) - 1) > width else 0
    parts, first, used = [], 0, 0
    for column, need in enumerate(needs):
        if column > first and (used + GAP + need > width or column == fold):
            parts.append(range(first, column))
            first, used = column, HANG + need
        else:
            used += need + (GAP if column > first else 0)
    return [*parts, range(first, len(widths))]


def _lines(
    row: Sequence[str], widths: Sequence[int], part: range, right: Collection[int], indent: str, width: int
) -> Iterator[str]:
    cells = [
        row[column].rjust(widths[column]) if column in right else row[column].ljust(widths[column]) for column in part
    ]
    line = indent + (" " * GAP).join(cells)
    if len(line.rstrip()) <= width or not width or part[-1] != len(widths) - 1:
        yield line
        return
    before = indent + "".join(cell + " " * GAP for cell in cells[:-1])
    yield from textwrap.wrap(
        row[-1], max(width, len(before) + TEXT // 2), initial_indent=before, subsequent_indent=" " * len(before)
    )


def _short(cell: str, room: int) -> str:
    text = shown.line(cell)
    return text if len(text) <= room else f"{text[: room - 1]}…"
