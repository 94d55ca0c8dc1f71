"""The folder of evaluations: where things lie, how lines are added, and how they are read by whoever believes nothing.

<dir>/rows/about.json, rows.jsonl, pictures/00003-q1.png, 00003-s1.png
<dir>/<subject>/<mode>/about.json, rows.jsonl, pictures/00003-1.png

A line is added whole and reaches the disk before the next row begins. What a kill cuts off is no line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..core import wire
from ..core.wire import MalformedError
from ..system import files, folders
from .wire import LOSS, MODES, About, AnswerRow, LossRow, QuestionRow, RowsAbout

BASE = "base"
MERGED = "-merged"
SUBJECT = re.compile(r"base|[0-9]{7,12}(-merged)?")
PICTURE = re.compile(r"[0-9]{5,6}-[qs]?[0-9]{1,3}\.png")
ABOUT, ROWS, PICTURES = "about.json", "rows.jsonl", "pictures"
SMALL = 1 << 16  # bytes of about.json
FILE = 64 << 20  # bytes of rows.jsonl
MOST = 100_000  # rows
SUBJECTS = 1000

T = TypeVar("T", QuestionRow, LossRow, AnswerRow)


@dataclass(frozen=True)
class Place:
    """The folder of one subject and mode."""

    folder: str
    subject: str
    mode: str

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.subject}/{self.mode}"

    @property
    def about(self) -> str:
        return f"{self.path}/{ABOUT}"

    @property
    def rows(self) -> str:
        return f"{self.path}/{ROWS}"

    @property
    def pictures(self) -> str:
        return f"{self.path}/{PICTURES}"


def subject_of(step: int | None, merged: bool = False) -> str:
    """`base`, `0001530` or `0001530-merged`."""
    return BASE if step is None else f"{step:07d}{MERGED if merged else ''}"


def step_of(subject: str) -> int | None:
    """The step of a subject; None for the base."""
    return None if subject == BASE else int(subject.split("-")[0])


def rows_folder(folder: str) -> str:
    """Of the questions and their expected solutions."""
    return f"{folder}/rows"


def question_picture(row: int, side: str, number: int) -> str:
    """Of a question (side `q`) or an expected solution (side `s`); `number` counts from 1."""
    return f"{row:05d}-{side}{number}.png"


def answer_picture(row: int, number: int) -> str:
    """Of a generated solution; `number` counts from 1."""
    return f"{row:05d}-{number}.png"


def begin(place: Place, about: About) -> set[int]:
    """Opens the place for this work, and says which rows it has already. Rows of another work are removed.

    Raises OSError.
    """
    before = about_in(place)
    if before is None or before.same_work != about.same_work:
        folders.remove_tree(place.path)
    folders.make(place.pictures if place.mode != LOSS else place.path)
    files.save(place.about, wire.to_dict(about))
    return done(place)


def done(place: Place) -> set[int]:
    """Rows that need not be computed again: a solution with an error is tried once more."""
    return {one.row for one in rows_in(place) if not getattr(one, "error", None)}


def finish(place: Place, about: About) -> None:
    """The same About, with its end. Raises OSError."""
    files.save(place.about, wire.to_dict(about))


def append(path: str, row: QuestionRow | LossRow | AnswerRow) -> None:
    """Adds one line, on the disk when this returns. Several processes may do so. Raises OSError."""
    files.add_line(path, line_of(row))


def line_of(row: QuestionRow | LossRow | AnswerRow) -> bytes:
    """A row as it stands in its file, without the end of the line."""
    return json.dumps(wire.to_dict(row), ensure_ascii=False, separators=(",", ":")).encode()


def about_in(place: Place) -> About | None:
    """None for what is absent, or of another subject or mode."""
    found = wire.from_record(About, files.load(place.about, SMALL, follow=False))
    return found if found and (found.subject, found.mode) == (place.subject, place.mode) else None


def rows_in(place: Place, limit: int = FILE) -> list[LossRow] | list[AnswerRow]:
    """The rows of a place, rising; a broken line is none. `limit`: bytes that are read."""
    if place.mode == LOSS:
        return _rows(LossRow, place.rows, limit)
    return [_with_sound_names(row) for row in _rows(AnswerRow, place.rows, limit)]


def _with_sound_names(row: AnswerRow) -> AnswerRow:
    """Raises nothing: a picture with another name than ours is dropped."""
    parts = tuple(one for one in row.parts if one.type == "text" or PICTURE.fullmatch(one.file))
    return row if parts == row.parts else AnswerRow(**{**vars(row), "parts": parts})


def questions_in(folder: str) -> list[QuestionRow]:
    """The test rows, rising; a picture with another name than ours is dropped."""
    found = []
    for row in _rows(QuestionRow, f"{rows_folder(folder)}/{ROWS}"):
        question, solution = (
            tuple(one for one in parts if one.type == "text" or PICTURE.fullmatch(one.file))
            for parts in (row.question, row.solution)
        )
        found.append(QuestionRow(row.row, row.id, row.answer, question, solution))
    return found


def questions_about(folder: str) -> RowsAbout | None:
    return wire.from_record(RowsAbout, files.load(f"{rows_folder(folder)}/{ABOUT}", SMALL, follow=False))


def places(folder: str, most: int = SUBJECTS) -> list[Place]:
    """What has an about.json: base first, then by step. Of more than `most` subjects those of the first steps are left
    out. Raises OSError for a folder that is none."""
    names = sorted(name for name in folders.names(folder) if SUBJECT.fullmatch(name))
    ordered = sorted(names, key=lambda name: (step_of(name) or 0, name) if name != BASE else (-1, name))
    newest = [*ordered[:1], *ordered[1:][-(most - 1) :]]
    found = [Place(folder, name, mode) for name in newest for mode in MODES]
    return [place for place in found if about_in(place)]


def _rows(kind: type[T], path: str, limit: int = FILE) -> list[T]:
    return [found for _row, found in sorted({one.row: one for one in _lines(kind, path, limit)}.items())]


def _lines(kind: type[T], path: str, limit: int) -> Iterator[T]:
    try:
        text = files.read(path, limit, follow=False)
    except OSError:
        return
    for line in text.split(b"\n", 2 * MOST)[: 2 * MOST]:
        row = _parsed(kind, line)
        if row is not None and 0 <= row.row < MOST:
            yield row


def _parsed(kind: type[T], line: bytes) -> T | None:
    if not line:
        return None
    try:
        loaded: Any = json.loads(line)
        wire.bounded(loaded)
        return wire.from_dict(kind, loaded)
    except (ValueError, RecursionError, MalformedError):
        return None
