"""A part of `python -m tests.fuzz`, the same each time, so that a hole is seen on the day that it opens."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import masking

from tests.fuzz import answers, inventories, judge

SEED = 4  # any


@pytest.fixture(autouse=True)
def no_secrets_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Odd values stand in secrets, too. Remembered, they would be masked in the texts of other tests."""
    monkeypatch.setattr(masking, "_known", set())
    monkeypatch.setattr(masking, "_grams", set())


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> judge.Ground:
    return judge.Ground(tmp_path_factory.mktemp("fuzz"))


def test_wrong_inventories_are_all_refused_with_their_reason(ground: judge.Ground) -> None:
    cases = judge.wrong(ground, 60, SEED)
    assert [text for case in cases if (text := judge.missed(case))] == []


def test_right_inventories_have_no_errors(ground: judge.Ground) -> None:
    assert [text for number in range(5) for text in judge.false_errors(ground, SEED + number)] == []


def test_there_are_at_least_two_thousand_wrong_ones(ground: judge.Ground) -> None:
    cases = list(judge.every_wrong(ground, SEED))
    assert len({case.name for case in cases}) >= 2000


def test_fifty_hosts_are_planned_in_time(ground: judge.Ground) -> None:
    assert judge.fifty_hosts(ground) < judge.LIMIT


def test_a_fleet_that_is_right_is_no_missed_case(ground: judge.Ground) -> None:
    right = judge.Case("right", (judge.Host("a", ground.base),), "a")
    assert judge.missed(right).startswith("right: not told")


def test_no_mutated_answer_stops_the_plan_or_blames_another(ground: judge.Ground) -> None:
    """20,000 of them: python -m tests.fuzz --answers 20000."""
    assert answers.broken(ground.base, 250, judge.chance(SEED)) == []


def test_no_odd_value_stops_the_plan_or_blames_another(ground: judge.Ground) -> None:
    """Each under each variable: python -m tests.fuzz --values 0."""
    assert inventories.broken(ground.base, 60, judge.chance(SEED)) == []
