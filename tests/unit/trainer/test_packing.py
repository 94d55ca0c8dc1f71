"""The packer's arithmetic, on figures that were seen with the trainer's own class (contract: 40 parsed, 20 used)."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.packing import (
    Budgets,
    Packed,
    enough,
    pack,
    share_lost,
)
from hypothesis import given
from hypothesis import strategies as st

lengths = st.lists(st.integers(1, 10_000), min_size=1, max_size=300)


@pytest.mark.parametrize(
    ("most", "lost"),
    [
        pytest.param(8192, 20, id="the guide's budgets throw every second sample away"),
        pytest.param(16384, 0, id="twice the budget keeps them all"),
    ],
)
def test_forty_samples_of_six_thousand_tokens(most: int, lost: int) -> None:
    assert pack([6000] * 40, Budgets(8192, most, 16384, 8192)) == Packed(40, 0, lost)


@given(samples=lengths, expected=st.integers(1, 20_000), before=st.integers(0, 20_000))
def test_with_enough_no_order_of_samples_loses_one(samples: list[int], expected: int, before: int) -> None:
    most = enough(max(samples), expected)
    assert pack(samples, Budgets(expected, most, max(samples) + 1, before)).lost == 0


@given(longest=st.integers(2, 10_000))
def test_less_than_twice_the_longest_sample_can_lose_one(longest: int) -> None:
    budgets = Budgets(longest + 1, 2 * longest - 1, longest + 1, longest + 1)
    assert pack([longest] * 4, budgets).lost > 0


@given(samples=lengths, most=st.integers(1, 20_000), limit=st.integers(1, 12_000))
def test_every_sample_is_packed_waiting_skipped_or_lost(samples: list[int], most: int, limit: int) -> None:
    packed = pack(samples, Budgets(8192, most, limit, 8192))
    assert packed.parsed == len(samples)
    assert packed.skipped >= sum(1 for tokens in samples if tokens > limit)
    assert packed.skipped + packed.lost <= len(samples)


def test_a_sample_of_the_limit_itself_is_skipped_where_a_batch_begins() -> None:
    assert pack([100, 100], Budgets(1000, 2000, 100, 0)).skipped == 2
    assert pack([99, 100], Budgets(1000, 2000, 100, 0)).skipped == 0


def test_the_share_is_of_the_samples_that_are_not_skipped() -> None:
    assert share_lost({6000: 613}, Budgets(8192, 8192, 16384, 8192)) == pytest.approx(0.5, abs=0.01)
    assert share_lost({6000: 613, 20_000: 613}, Budgets(8192, 16384, 16384, 8192)) == 0


def test_a_large_file_is_judged_by_some_of_its_samples() -> None:
    assert share_lost({6000: 10**6}, Budgets(8192, 8192, 16384, 8192)) == pytest.approx(0.5, abs=0.01)
