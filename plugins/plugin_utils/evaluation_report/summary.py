# SPDX-License-Identifier: Apache-2.0
"""The collected folder of an evaluation as one Evaluation, with intervals and tests. Nothing in the folder is believed
but numbers and texts of their declared types."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise

from ...module_utils.core import shown, wire
from ...module_utils.evaluation import folder as folders
from ...module_utils.evaluation.offer import LOSSES, LOSSES_BYTES
from ...module_utils.evaluation.wire import ANSWERS, LOSS, About, AnswerRow, LossRow, QuestionRow
from ...module_utils.system import files
from ...module_utils.trainer.losses import Losses as Table
from . import notes, statistics
from .shape import (
    CHANCE,
    CONFIDENCE,
    SCHEMA,
    Answers,
    Comparison,
    Curve,
    Evaluation,
    Interval,
    Losses,
    Measure,
    Outcome,
    Subject,
    Work,
)

COMMIT = re.compile(r"[0-9a-f]{40}")
POINTS = 400  # of a curve
LARGE = 1e30  # a loss from here on is no number of a training: sums and squares of it would be none
LOSS_NAMES: tuple[Measure, ...] = ("ce", "mse")


@dataclass(frozen=True)
class Part:
    """What lies in one folder of a subject: its About, and its rows by number."""

    about: About
    loss: Mapping[int, LossRow] = field(default_factory=dict)
    answers: Mapping[int, AnswerRow] = field(default_factory=dict)

    @property
    def same(self) -> tuple[object, ...]:
        """Two parts with the same are comparable row by row."""
        one = self.about
        return (one.mode, one.data_digest, one.code_commit, one.seed, tuple(sorted(one.settings.items())))


@dataclass(frozen=True)
class Collected:
    """All that was read. `parts`: by subject, base first, then by step, and mode."""

    questions: tuple[QuestionRow, ...]
    parts: Mapping[str, Mapping[str, Part]]
    curves: tuple[Curve, ...]

    @property
    def key(self) -> Mapping[int, str]:
        """The answer letter of each row that has one."""
        return {one.row: one.answer for one in self.questions if one.answer}


def collected(folder: str) -> Collected:
    """Reads the folder. Raises OSError for one that is absent."""
    parts: dict[str, dict[str, Part]] = {}
    for place in folders.places(folder):
        about = folders.about_in(place)
        if about is None:
            continue
        rows = {one.row: one for one in folders.rows_in(place)}
        loss = {row: one for row, one in rows.items() if isinstance(one, LossRow)}
        answers = {row: one for row, one in rows.items() if isinstance(one, AnswerRow)}
        parts.setdefault(place.subject, {})[place.mode] = Part(_printable(about), loss, answers)
    return Collected(tuple(folders.questions_in(folder)), parts, tuple(curves(f"{folder}/{LOSSES}")))


def _printable(about: About) -> About:
    """Its texts as lines for a person. A commit is no secret, though it has as many digits as one."""
    printable = shown.each(about)
    return replace(printable, code_commit=about.code_commit) if COMMIT.fullmatch(about.code_commit) else printable


def evaluation(run: str, data: Collected) -> Evaluation:
    """The report as data. The same folder gives the same report, to the last digit."""
    subjects = tuple(_subject(name, parts, data.key) for name, parts in data.parts.items())
    comparisons = tuple(_comparisons(data))
    first = next((one.answers for one in subjects if one.answers and one.answers.accuracy), None)
    accuracy = first.accuracy if first else None
    made = Evaluation(
        schema=SCHEMA,
        run=shown.line(run),
        data_digest=next((part.about.data_digest for parts in data.parts.values() for part in parts.values()), ""),
        rows=len(data.questions),
        lettered=len(data.key),
        chance=CHANCE,
        confidence=CONFIDENCE,
        subjects=subjects,
        comparisons=comparisons,
        visible=statistics.visible(accuracy.rows, accuracy.value) if accuracy else None,
        outcomes=tuple(_outcomes(data)),
        curves=data.curves,
        notes=(),
    )
    return notes.noted(made)


def as_json(made: Evaluation) -> str:
    """evaluation.json; the same report has the same bytes."""
    return json.dumps(wire.to_dict(made), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _subject(name: str, parts: Mapping[str, Part], key: Mapping[int, str]) -> Subject:
    loss, answers = parts.get(LOSS), parts.get(ANSWERS)
    return Subject(
        name=name,
        step=folders.step_of(name),
        merged=name.endswith(folders.MERGED),
        loss=_losses(loss) if loss else None,
        answers=_answers(answers, key) if answers else None,
    )


def _losses(part: Part) -> Losses:
    found = {name: _finite(part, name) for name in LOSS_NAMES}
    given = {row for name in LOSS_NAMES for row, one in part.loss.items() if getattr(one, name) is not None}
    bad = {row for row in given for name in LOSS_NAMES if not _is_sound(getattr(part.loss[row], name))}
    ce, mse = (statistics.mean([*found[name].values()]) for name in LOSS_NAMES)
    return Losses(_work(part.about, len(part.loss)), ce, mse, len(bad))


def _is_sound(value: float | None) -> bool:
    return value is None or abs(value) < LARGE  # not for nan


def _finite(part: Part, name: str) -> dict[int, float]:
    """A loss by row, where it is a finite number."""
    values = {row: getattr(one, name) for row, one in part.loss.items()}
    return {row: value for row, value in values.items() if value is not None and _is_sound(value)}


def _answers(part: Part, key: Mapping[int, str]) -> Answers:
    rows = part.answers.values()
    judged = [row for row in part.answers if row in key]
    right = sum(part.answers[row].letter == key[row] for row in judged)
    return Answers(
        work=_work(part.about, len(part.answers)),
        right=right,
        accuracy=statistics.share(right, len(judged)),
        above_chance=statistics.above_chance(right, len(judged)),
        unparsed=sum(one.letter is None and one.error is None for one in rows),
        failed=sum(one.error is not None for one in rows),
        tokens=_mean([one.text_tokens for one in rows]),
        pictures=_mean([one.pictures for one in rows]),
        seconds=_mean([one.seconds for one in rows]),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(min(value, LARGE) for value in values) / len(values) if values else 0.0


def _work(about: About, rows: int) -> Work:
    same = [one.name for one in fields(Work) if one.name not in ("wanted", "rows")]
    return Work(wanted=about.rows, rows=rows, **{name: getattr(about, name) for name in same})


def _comparisons(data: Collected) -> Iterator[Comparison]:
    """Base against each, then each against the one before it."""
    for mode in (ANSWERS, LOSS):
        names = [name for name, parts in data.parts.items() if mode in parts]
        pairs = [(folders.BASE, name) for name in names[1:] if names[0] == folders.BASE]
        pairs += [pair for pair in pairwise(names) if folders.BASE not in pair]
        for first, second in pairs:
            one, other = data.parts[first][mode], data.parts[second][mode]
            if one.same == other.same:
                yield from filter(None, _compared(first, second, one, other, data.key))


def _compared(first: str, second: str, one: Part, other: Part, key: Mapping[int, str]) -> Iterator[Comparison | None]:
    both = [row for row in one.answers if row in other.answers and row in key]
    yield statistics.answered(
        first, second, [(one.answers[row].letter == key[row], other.answers[row].letter == key[row]) for row in both]
    )
    for name in LOSS_NAMES:
        before, after = _finite(one, name), _finite(other, name)
        pairs = [(before[row], after[row]) for row in before if row in after]
        yield statistics.paired(first, second, name, pairs)


def _outcomes(data: Collected) -> Iterator[Outcome]:
    """Each test row; a subject that has not come to it is absent from its mappings."""
    losses = {name: parts[LOSS] for name, parts in data.parts.items() if LOSS in parts}
    values = {name: {loss: _finite(part, loss) for loss in LOSS_NAMES} for name, part in losses.items()}
    answers = {name: parts[ANSWERS].answers for name, parts in data.parts.items() if ANSWERS in parts}
    for one in data.questions:
        letters = {name: rows[one.row].letter for name, rows in answers.items() if one.row in rows}
        ce, mse = (
            {name: found[loss][one.row] for name, found in values.items() if one.row in found[loss]}
            for loss in LOSS_NAMES
        )
        yield Outcome(one.row, shown.line(one.id), one.answer, letters, ce, mse)


def curves(path: str) -> Iterator[Curve]:
    """The losses of the training, one curve each; nothing where the run has none."""
    try:
        text = files.read(path, LOSSES_BYTES, follow=False).decode("utf-8", "replace")
    except OSError:
        return
    table = Table()
    table.read(text)
    for name in table.names:
        points = [(row.step, float(row.losses[name])) for row in table.rows if name in row.losses]
        points = [(step, value) for step, value in points if _is_sound(value)]
        if points:
            yield Curve(shown.line(name)[:40], *_thinned(points))


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """At most POINTS of them: each is the last step of its group, with the group's mean."""
    size = math.ceil(len(points) / POINTS)
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return tuple(group[-1][0] for group in groups), tuple(_mean([value for _step, value in group]) for group in groups)


def best(subjects: Sequence[Subject]) -> Subject | None:
    """The subject that a page shows beside the base: the newest one that has answers, else losses."""
    tuned = [one for one in subjects if one.step is not None]
    return next((one for one in reversed(tuned) if one.answers), tuned[-1] if tuned else None)


def interval_of(subject: Subject, measure: Measure) -> Interval | None:
    """A subject's value of a measure."""
    if measure == "accuracy":
        return subject.answers.accuracy if subject.answers else None
    return getattr(subject.loss, measure) if subject.loss else None
