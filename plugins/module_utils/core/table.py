"""Rows of cells as lines for a person. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from . import shown

NONE = "–"  # a cell that has nothing to say


def lines(rows: Sequence[Sequence[str]], *, indent: str = "", right: Collection[int] = ()) -> list[str]:
    """Columns as wide as their widest cell; those in `right` end at one edge. Nothing stands behind the last cell."""
    rows = [[shown.line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [(indent + "  ".join(_cells(row, widths, right))).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    return [
        cell.rjust(width) if column in right else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths))
    ]
