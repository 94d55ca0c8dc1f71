# SPDX-License-Identifier: Apache-2.0
"""The evaluation as a table for the terminal. Pure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence

from ...module_utils.core import table
from ...module_utils.core.shown import line
from .shape import Answers, Comparison, Evaluation, Interval, Losses, Subject

NONE = table.NONE
HEAD = ("subject", "CE", "MSE", "right", "accuracy (95 %)", "unparsed", "tokens")
COMPARED = ("compared", "of", "difference (95 %)", "rows", "p", "seen")
SEEN = {"better": "better", "worse": "worse", "not seen": "no"}


def text(made: Evaluation, width: int) -> str:
    """All of it, in `width` columns."""
    return "\n".join(_lines(made, width))


def _lines(made: Evaluation, width: int) -> Iterator[str]:
    yield from textwrap.wrap(
        f"Evaluation of {line(made.run)}: {made.rows} test rows, {made.lettered} with an answer letter", width
    )
    yield ""
    rows = [HEAD, *map(_row, made.subjects)]
    yield from table.lines(_without_empty(rows), right=range(1, len(HEAD)), width=width, indent="  ")
    if made.comparisons:
        yield ""
        yield from table.lines([COMPARED, *map(_comparison, made.comparisons)], width=width, indent="  ")
    yield ""
    for one in (*_said(made), *(note.text for note in made.notes)):
        yield from textwrap.wrap(line(one), width, initial_indent="  ", subsequent_indent="    ")


def _said(made: Evaluation) -> Iterator[str]:
    if any(one.answers for one in made.subjects):
        yield f"Guessing is right in {100 * made.chance:.0f} % of the rows."
    if made.visible and made.visible.gain is not None:
        one = made.visible
        gain, of, power = (round(100 * value) for value in (one.gain or 0, one.of, one.power))
        yield (
            f"With {one.rows} rows a gain of {gain} points or more over {of} % would be seen in {power} % of the "
            "cases. A smaller one may be there unseen."
        )


def _without_empty(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Without the columns that have nothing to say in any row."""
    kept = [at for at, column in enumerate(zip(*rows, strict=True)) if any(cell != NONE for cell in column[1:])]
    return [[row[at] for at in kept] for row in rows]


def _row(subject: Subject) -> tuple[str, ...]:
    return (name(subject.name), *_loss_cells(subject.loss), *_answer_cells(subject.answers))


def _loss_cells(loss: Losses | None) -> tuple[str, str]:
    return (number(loss.ce), number(loss.mse)) if loss else (NONE, NONE)


def _answer_cells(answers: Answers | None) -> tuple[str, ...]:
    if answers is None:
        return (NONE,) * 4
    right = f"{answers.right}/{answers.accuracy.rows}" if answers.accuracy else NONE
    return (right, percent(answers.accuracy), str(answers.unparsed + answers.failed), f"{answers.tokens:.0f}")


def _comparison(one: Comparison) -> tuple[str, ...]:
    rows = str(one.difference.rows) if one.gained is None else f"+{one.gained} −{one.lost}"
    pair = f"{name(one.first)} → {name(one.second)}"
    if one.measure == "accuracy":
        return (pair, "accuracy %", points(one.difference), rows, p_value(one.p), SEEN[one.verdict])
    return (pair, one.measure.upper(), signed(one.difference), rows, p_value(one.p), SEEN[one.verdict])


def name(subject: str) -> str:
    """The subject 0001530 as a person says it."""
    return subject.lstrip("0") or "0"


def number(found: Interval | None) -> str:
    """Four significant digits."""
    return NONE if found is None else f"{found.value:.4g}"


def percent(found: Interval | None) -> str:
    """24.6 % (16.0–36.0)"""
    if found is None:
        return NONE
    text = f"{100 * found.value:.1f} %"
    if found.low is None or found.high is None:
        return text
    return f"{text} ({100 * found.low:.1f}–{100 * found.high:.1f})"


def points(found: Interval) -> str:
    """+53.6 (+41.0…+66.2), of a share in hundredths"""
    return _with_interval(found, form_of_points)


def signed(found: Interval) -> str:
    """−1.030 (−1.095…−0.965)"""
    return _with_interval(found, form_of(found))


def form_of(found: Interval) -> Callable[[float], str]:
    """Value and ends with as many decimals as the interval's length has a use for; the minus is as long as the plus."""
    if found.low is None or found.high is None:
        return lambda value: f"{value:+.3g}".replace("-", "−")
    length = found.high - found.low
    decimals = min(6, max(0, 1 - math.floor(math.log10(length)))) if length > 0 else 3
    return lambda value: f"{value:+.{decimals}f}".replace("-", "−")


def form_of_points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _with_interval(found: Interval, form: Callable[[float], str]) -> str:
    between = "" if found.low is None or found.high is None else f" ({form(found.low)}…{form(found.high)})"
    return f"{form(found.value)}{between}"


def p_value(p: float | None) -> str:
    if p is None:
        return NONE
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"
