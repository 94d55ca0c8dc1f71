"""Rows of cells as lines for a person. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from . import shown

WIDE = 100  # letters of a cell, so that one row leaves the others readable; the last cell may have more
NONE = "–"  # a cell that has nothing to say


def lines(rows: Sequence[Sequence[str]], *, indent: str = "", right: Collection[int] = ()) -> list[str]:
    """Columns as wide as their widest cell; those in `right` end at one edge. Nothing stands behind the last cell."""
    rows = [[*map(_short, row[:-1]), *map(shown.line, row[-1:])] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [(indent + "  ".join(_cells(row, widths, right))).rstrip() for row in rows]


def _short(cell: str) -> str:
    text = shown.line(cell)
    return text if len(text) <= WIDE else f"{text[:WIDE]}…"


def _cells(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    return [
        cell.rjust(width) if column in right else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths))
    ]
