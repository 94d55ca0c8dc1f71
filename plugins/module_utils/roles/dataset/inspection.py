"""The inspection of a parquet file: made by inspect.py, kept in the record, judged by judge.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Longest:
    """The longest sample: its row, and its tokens, those of its images among them."""

    row: int = -1
    tokens: int = 0
    image_tokens: int = 0


@dataclass(frozen=True)
class Inspection:
    """Rows are counted from 0. `problem` and `missing` say why the rest is empty."""

    path: str = ""
    folder: str = ""
    rules: int = 0  # by which the rows were looked at
    problem: str = ""
    missing: tuple[str, ...] = ()
    rows: int = 0
    row_groups: tuple[int, ...] = ()  # their rows
    bad: tuple[tuple[int, str], ...] = ()  # row, and why the trainer would drop it
    index_nulls: int = 0
    lengths: tuple[tuple[int, int], ...] = ()  # tokens of a sample, at most, and how many rows have so many
    at_least: tuple[tuple[int, int], ...] = ()  # the same with the lower bound of its text
    longest: Longest = Longest()
    text: str = ""  # counted, or estimated
    duplicates: tuple[tuple[int, int], ...] = ()  # row, and the first row with the same content
    test: Inspection | None = None
    rows_in_train: tuple[tuple[int, int, int], ...] = ()  # of a test file: row, training row, 1 where the answer is it
    info: str = ""  # the user's own info file, where it names paths of another machine
    foreign_info: tuple[str, ...] = ()
    of: Mapping[str, str] = field(default_factory=dict)  # sha256 of what was looked at

    @property
    def good_rows(self) -> int:
        return self.rows - len(self.bad)
