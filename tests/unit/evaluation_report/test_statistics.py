"""Intervals, tests and power against values of textbooks."""

from __future__ import annotations

from itertools import product
from math import comb

import pytest
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import statistics
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.shape import Interval

# Student's sleep data (Student 1908, as in R's `sleep`): hours gained by ten people with each of two drugs.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


@pytest.mark.parametrize(
    ("number", "rows", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)],
)
def test_a_share_has_wilsons_interval(number: int, rows: int, low: float, high: float) -> None:
    """The last two: Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    found = statistics.share(number, rows)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert (found.value, found.rows) == (number / rows, rows)


@pytest.mark.parametrize(
    ("gained", "lost", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (0, 6, 0.03125), (8, 2, 0.109375), (5, 5, 1.0)]
)
def test_mcnemar_is_the_exact_binomial_test_of_the_rows_that_changed(gained: int, lost: int, p: float) -> None:
    assert statistics.mcnemar(gained, lost) == pytest.approx(p)


def test_a_paired_difference_is_students() -> None:
    found = statistics.paired("base", "0000040", "ce", list(zip(FIRST, SECOND, strict=True)))
    assert found is not None
    assert found.difference.value == pytest.approx(1.58)
    assert (found.difference.low, found.difference.high) == (pytest.approx(0.7001142), pytest.approx(2.4598858))
    assert (found.p, found.verdict) == (pytest.approx(0.002832890), "worse")
    back = statistics.paired("0000040", "base", "ce", list(zip(SECOND, FIRST, strict=True)))
    assert back is not None
    assert (back.verdict, back.difference.value) == ("better", pytest.approx(-1.58))


def test_a_mean_has_students_interval() -> None:
    found = statistics.mean([after - before for before, after in zip(FIRST, SECOND, strict=True)])
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(0.7001142), pytest.approx(2.4598858))


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.3, 0.3]], ids=["one row", "equal rows"])
def test_where_there_is_no_spread_there_is_no_interval(values: list[float]) -> None:
    assert statistics.mean(values) == Interval(pytest.approx(0.3), None, None, len(values))  # type: ignore[arg-type]
    found = statistics.paired("a", "b", "ce", [(value, value) for value in values])
    assert found is not None
    assert (found.difference.low, found.p, found.verdict) == (None, None, "not seen")


def test_of_no_rows_there_is_nothing() -> None:
    assert statistics.share(0, 0) is statistics.above_chance(0, 0) is statistics.mean([]) is None
    assert statistics.paired("a", "b", "ce", []) is statistics.answered("a", "b", []) is None


def test_answers_are_compared_by_the_rows_that_changed() -> None:
    pairs = [(False, True)] * 8 + [(True, False)] + [(True, True)] * 10 + [(False, False)] * 5
    found = statistics.answered("base", "0000040", pairs)
    assert found is not None
    assert (found.gained, found.lost, found.verdict) == (8, 1, "better")
    assert found.p == pytest.approx(0.0390625)
    assert found.difference.value == pytest.approx(7 / 24)
    back = statistics.answered("0000040", "base", [(after, before) for before, after in pairs])
    assert back is not None
    assert back.verdict == "worse"


def test_a_difference_of_shares_stays_within_one() -> None:
    found = statistics.answered("base", "0000040", [(False, True)] * 5 + [(True, True)])
    assert found is not None
    assert found.difference.high == 1.0
    assert found.verdict == "not seen", "five rows cannot show it"


def test_above_chance_is_the_tail_of_guessing() -> None:
    tail = sum(comb(10, right) * 0.25**right * 0.75 ** (10 - right) for right in range(6, 11))
    assert statistics.above_chance(6, 10) == pytest.approx(tail)


def exact(rows: int, before: float, after: float) -> float:
    """The power by adding up every outcome."""
    gain, loss = (1 - before) * after, before * (1 - after)
    seen = [
        (gained, lost, rows - gained - lost)
        for gained, lost in product(range(rows + 1), repeat=2)
        if gained + lost <= rows and statistics.mcnemar(gained, lost) < 0.05
    ]
    ways = ((comb(rows, gained) * comb(rows - gained, lost), gained, lost, same) for gained, lost, same in seen)
    return sum(number * gain**gained * loss**lost * (1 - gain - loss) ** same for number, gained, lost, same in ways)


def test_the_power_is_that_of_every_outcome_added_up() -> None:
    assert statistics.power(24, 0.25, 0.75) == pytest.approx(exact(24, 0.25, 0.75), abs=0.015)
    assert statistics.power(24, 0.25, 0.75) == statistics.power(24, 0.25, 0.75), "the same question, the same answer"


def test_the_least_gain_that_would_be_seen() -> None:
    found = statistics.visible(24, 0.25)
    assert (found.changes, found.gain) == (6, pytest.approx(11 / 24))
    assert exact(24, 0.25, 0.25 + 11 / 24) > 0.79 > exact(24, 0.25, 0.25 + 10 / 24)


@pytest.mark.parametrize(("rows", "right"), [(5, 0.25), (0, 0.0), (30, 1.0)], ids=["few rows", "no rows", "all right"])
def test_sometimes_no_gain_would_be_seen(rows: int, right: float) -> None:
    assert statistics.visible(rows, right).gain is None
