# SPDX-License-Identifier: Apache-2.0
"""The rows of the gallery: question, expected and generated solutions, and what became of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from ...module_utils.core import shown
from ...module_utils.evaluation import folder as folders
from ...module_utils.evaluation.wire import ANSWERS, AnswerRow, Part, QuestionRow, Text
from .shape import Evaluation, Outcome
from .summary import Collected

LONG = 4_000  # characters of a text
PARTS = 40  # of a solution
MARKUP = 6_000  # bytes of a card's own elements, about


@dataclass(frozen=True)
class Piece:
    """A text, or the path of a picture and its edges in pixels."""

    text: str = ""
    cut: bool = False
    path: str = ""
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Column:
    """`what`: a key of words.py; `subject`: who generated it; `answer`: None where there is no row yet."""

    what: str
    subject: str
    pieces: tuple[Piece, ...]
    there: bool = True
    letter: str = ""
    right: bool = False
    judged: bool = False


@dataclass(frozen=True)
class Card:
    """`state`: right, wrong, unparsed or "" as the last of the subjects has it; `change`: gained, lost or "".
    `trend` of the CE: lower, higher or ""."""

    row: int
    id: str
    answer: str
    state: str
    change: str
    trend: str
    columns: tuple[Column, ...]
    ce: tuple[tuple[str, float], ...]

    @property
    def pictures(self) -> list[str]:
        return [piece.path for column in self.columns for piece in column.pieces if piece.path]

    @property
    def size(self) -> int:
        """Bytes of its texts in the page, about; without pictures."""
        texts = (piece.text for column in self.columns for piece in column.pieces)
        return MARKUP + sum(len(escape(text).encode()) for text in texts)

    @property
    def rank(self) -> tuple[int, int]:
        """Pictures of rows that changed are kept longest, then those of wrong ones."""
        return (0 if self.change else 1 if self.state in ("wrong", "unparsed") else 2, self.row)


def cards(folder: str, data: Collected, made: Evaluation, subjects: Sequence[str]) -> list[Card]:
    """A card for each test row; `subjects`: whose solutions are shown, the base before the one that is judged."""
    outcomes = {one.row: one for one in made.outcomes}
    return [_card(folder, data, one, outcomes[one.row], subjects) for one in data.questions if one.row in outcomes]


def _card(folder: str, data: Collected, question: QuestionRow, outcome: Outcome, subjects: Sequence[str]) -> Card:
    pictures = f"{folders.rows_folder(folder)}/{folders.PICTURES}"
    columns = [
        Column("question", "", tuple(_pieces(question.question, pictures))),
        Column("expected", "", tuple(_pieces(question.solution, pictures))),
        *(_generated(folder, data, question, name) for name in subjects if ANSWERS in data.parts.get(name, {})),
    ]
    ce = tuple((name, outcome.ce[name]) for name in subjects if name in outcome.ce)
    states = [_state(outcome, name) for name in subjects]
    return Card(
        row=question.row,
        id=shown.line(question.id)[:80],
        answer=question.answer or "",
        state=states[-1] if states else "",
        change=_change(states),
        trend=_trend([value for _name, value in ce]),
        columns=tuple(columns),
        ce=ce,
    )


def _generated(folder: str, data: Collected, question: QuestionRow, name: str) -> Column:
    row: AnswerRow | None = data.parts[name][ANSWERS].answers.get(question.row)
    if row is None:
        return Column("generated", name, (), there=False)
    pieces = [*_pieces(row.parts, f"{folder}/{name}/{ANSWERS}/{folders.PICTURES}")]
    if row.error:
        pieces.append(Piece(text=shown.line(row.error)[:LONG]))
    right = row.letter == question.answer
    return Column("generated", name, tuple(pieces), True, row.letter or "", right, judged=bool(question.answer))


def _pieces(parts: Sequence[Part], pictures: str) -> Iterator[Piece]:
    for part in parts[:PARTS]:
        if isinstance(part, Text):
            yield Piece(text=shown.lines(part.content[:LONG]), cut=len(part.content) > LONG)
        else:
            yield Piece(path=f"{pictures}/{part.file}", width=part.width, height=part.height)
    if len(parts) > PARTS:
        yield Piece(cut=True)


def _state(outcome: Outcome, name: str) -> str:
    if name not in outcome.letters or outcome.answer is None:
        return ""
    letter = outcome.letters[name]
    return "unparsed" if letter is None else "right" if letter == outcome.answer else "wrong"


def _change(states: Sequence[str]) -> str:
    if len(states) < 2 or not all(states[-2:]) or (states[-2] == "right") == (states[-1] == "right"):
        return ""
    return "gained" if states[-1] == "right" else "lost"


def _trend(ce: Sequence[float]) -> str:
    return "" if len(ce) < 2 or ce[-1] == ce[0] else "lower" if ce[-1] < ce[0] else "higher"
