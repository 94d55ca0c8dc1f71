# SPDX-License-Identifier: Apache-2.0
"""Intervals and tests, all of them scipy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .shape import CHANCE, CONFIDENCE, POWER, Comparison, Interval, Measure, Verdict, Visible

ALPHA = 1 - CONFIDENCE
DRAWS = 2_000_000  # rows that are drawn for one power at most
SEED = 42
PLACES = 12  # decimals of a power's arguments, so that platforms agree on a step


def _scipy() -> Any:
    """Imported when a report is made: other plays need it not."""
    from scipy import stats

    return stats


def share(number: int, rows: int) -> Interval | None:
    """The share with Wilson's interval; None of no rows."""
    if not rows:
        return None
    found = _scipy().binomtest(number, rows).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(number / rows, float(found.low), float(found.high), rows)


def above_chance(right: int, rows: int) -> float | None:
    """The probability of so many right ones or more by guessing (binomial test, one-sided); None of no rows."""
    return float(_scipy().binomtest(right, rows, CHANCE, alternative="greater").pvalue) if rows else None


def mean(values: Sequence[float]) -> Interval | None:
    """The mean with Student's interval; None of no values."""
    return _student(values, _scipy().ttest_1samp(values, 0.0) if _spread(values) else None)


def paired(first: str, second: str, measure: Measure, pairs: Sequence[tuple[float, float]]) -> Comparison | None:
    """A loss on the same rows (paired t-test, and its interval); None of no rows."""
    differences = [after - before for before, after in pairs]
    test = (
        _scipy().ttest_rel([pair[1] for pair in pairs], [pair[0] for pair in pairs]) if _spread(differences) else None
    )
    difference = _student(differences, test)
    if difference is None:
        return None
    seen = difference.low is not None and difference.high is not None and difference.low * difference.high > 0
    verdict: Verdict = "not seen" if not seen else "better" if difference.value < 0 else "worse"
    return Comparison(first, second, measure, difference, float(test.pvalue) if test else None, None, None, verdict)


def answered(first: str, second: str, pairs: Sequence[tuple[bool, bool]]) -> Comparison | None:
    """Right or wrong on the same rows: McNemar's exact test, which is the binomial test of the rows that changed."""
    if not pairs:
        return None
    gained = sum(not before and after for before, after in pairs)
    lost = sum(before and not after for before, after in pairs)
    differences = [float(after) - float(before) for before, after in pairs]
    after_all, before_all = ([float(pair[side]) for pair in pairs] for side in (1, 0))
    test = _scipy().ttest_rel(after_all, before_all) if _spread(differences) else None
    difference = _within(_student(differences, test))
    p = mcnemar(gained, lost)
    verdict: Verdict = "not seen" if p >= ALPHA else "better" if gained > lost else "worse"
    return Comparison(first, second, "accuracy", difference, p, gained, lost, verdict) if difference else None


def mcnemar(gained: int, lost: int) -> float:
    """The two-sided p of McNemar's exact test."""
    return float(_scipy().binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def visible(rows: int, right: float) -> Visible:
    """The least gain over an accuracy of `right` that these rows would show, in whole rows."""
    fewest = next(number for number in range(1, 100) if mcnemar(number, 0) < ALPHA)
    low, high = 0, math.floor(rows * (1 - right))  # the power at high is enough, at low it is not
    gain = None
    if rows and high > 0 and power(rows, right, right + high / rows) >= POWER:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if power(rows, right, right + middle / rows) >= POWER else (middle, high)
        gain = high / rows
    return Visible(rows, right, gain, POWER, fewest)


def power(rows: int, before: float, after: float) -> float:
    """The probability that McNemar's exact test sees the step between two accuracies; scipy draws the rows.

    Its generator has a fixed seed, so the same question has the same answer.
    """
    import numpy

    stats = _scipy()
    gains, losses = round((1 - before) * after, PLACES), round(before * (1 - after), PLACES)
    generator = numpy.random.default_rng(SEED)

    def drawn(size: Any) -> Any:
        return generator.choice([1, -1, 0], size=size, p=[gains, losses, 1 - gains - losses])

    def tested(changes: Any, axis: int = -1) -> Any:
        gained, lost = (changes == 1).sum(axis=axis), (changes == -1).sum(axis=axis)
        return numpy.minimum(1.0, 2 * stats.binom.cdf(numpy.minimum(gained, lost), gained + lost, 0.5))

    number = max(500, min(10_000, DRAWS // rows))
    batch = max(1, DRAWS // rows)
    found = stats.power(
        tested, drawn, rows, significance=ALPHA, vectorized=True, n_resamples=number, batch=min(batch, number)
    )
    return float(found.power)


def _spread(values: Sequence[float]) -> bool:
    return len(set(values)) > 1


def _student(values: Sequence[float], test: Any) -> Interval | None:
    """The mean, and the interval of a test of it where there is one."""
    if not values:
        return None
    value = math.fsum(values) / len(values)
    if test is None:
        return Interval(value, None, None, len(values))
    found = test.confidence_interval(CONFIDENCE)
    return Interval(value, float(found.low), float(found.high), len(values))


def _within(found: Interval | None) -> Interval | None:
    """A difference of two shares lies between -1 and 1."""
    if found is None or found.low is None or found.high is None:
        return found
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))
