"""The figures of the last evaluation, for a line of the status. Reads what the account wrote, and believes no more than
its declared types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from . import folder as folders
from .folder import BASE, Place, subject_of
from .wire import ANSWERS, LOSS, About, AnswerRow, LossRow

LARGE = 1e30  # a loss from here on is no number of a training; the sum of two such may be none at all
SUBJECTS = 50  # of which the newest evaluation is sought: a status waits for it
ROWS = 4 << 20  # bytes of rows that are read for it


@dataclass(frozen=True)
class Figures:
    """Of one subject: mean losses of the rows, or how many answers are right. None: there is no such number."""

    subject: str
    rows: int
    ce: float | None = None
    mse: float | None = None
    right: int | None = None
    unparsed: int = 0


@dataclass(frozen=True)
class Last:
    """What was evaluated last of a run, beside the base on the same rows where there is one."""

    mode: str
    ended: str
    tuned: Figures | None = None
    base: Figures | None = None


def last(folder: str) -> Last | None:
    """None without an evaluation that has ended."""
    try:
        found = [(about, place) for place in folders.places(folder, SUBJECTS) if (about := folders.about_in(place))]
    except OSError:
        return None
    ended = [(about, place) for about, place in found if about.ended]
    if not ended:
        return None
    newest, place = max(ended, key=lambda one: (one[0].subject != BASE, one[0].ended, one[0].step or 0))
    beside = next((one for about, one in ended if about.subject == BASE and _comparable(about, newest)), None)
    tuned = figures(place) if newest.subject != BASE else None
    return Last(newest.mode, newest.ended or "", tuned, figures(beside) if beside else None)


def _comparable(one: About, other: About) -> bool:
    return (one.mode, one.data_digest, one.seed) == (other.mode, other.data_digest, other.seed)


def evaluated(folder: str, mode: str, step: int) -> bool:
    """Has this step been evaluated to its end?"""
    about = folders.about_in(Place(folder, subject_of(step), mode))
    return bool(about and about.ended)


def figures(place: Place) -> Figures:
    rows = folders.rows_in(place, ROWS)
    if place.mode == ANSWERS:
        answers = [row for row in rows if isinstance(row, AnswerRow)]
        expected = {one.row: one.answer for one in folders.questions_in(place.folder)}
        right = sum(1 for row in answers if row.letter and row.letter == expected.get(row.row))
        return Figures(place.subject, len(answers), right=right, unparsed=sum(1 for row in answers if not row.letter))
    losses = [row for row in rows if isinstance(row, LossRow)]
    return Figures(place.subject, len(losses), _mean([row.ce for row in losses]), _mean([row.mse for row in losses]))


def _mean(values: Sequence[float | None]) -> float | None:
    """Of the rows that have such a loss; None without any, and where one is no number of a training."""
    given = [value for value in values if value is not None]
    return math.fsum(given) / len(given) if given and all(abs(value) < LARGE for value in given) else None


def line(found: Last) -> str:
    """`step 1530 on 69 test rows: ce 0.412 (base 2.310), mse 0.080 (base 0.510)`."""
    mine = found.tuned or found.base
    if mine is None or not folders.SUBJECT.fullmatch(mine.subject):
        return ""
    step = folders.step_of(mine.subject)
    who = "the base" if step is None else f"step {step}{' merged' if mine.subject.endswith(folders.MERGED) else ''}"
    base = found.base if found.tuned else None
    if found.mode == LOSS:
        other = base or Figures("", 0)
        pairs = [("ce", mine.ce, other.ce), ("mse", mine.mse, other.mse)]
        parts = [f"{name} {value:.3f}{_beside(than)}" for name, value, than in pairs if value is not None]
    else:
        parts = [f"{mine.right} right{f' (base {base.right})' if base else ''}"]
        parts += [f"{mine.unparsed} unparsed"] if mine.unparsed else []
    return f"{who} on {mine.rows} test rows: {', '.join(parts) or 'no losses'}"


def _beside(other: float | None) -> str:
    return "" if other is None else f" (base {other:.3f})"
