"""Rate, time left and the words for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import progress
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress, Reading
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("samples", "now", "expected"),
    [
        pytest.param([], 100.0, None, id="nothing was measured yet"),
        pytest.param([(100.0, 0)], 100.5, None, id="half a second is too early to say"),
        pytest.param([(100.0, 0), (100.4, 10**9)], 100.5, None, id="whatever came in it"),
        pytest.param([(100.0, 0), (110.0, 1000)], 110.0, 100.0, id="a thousand in ten seconds"),
        pytest.param(
            [(0.0, 0), (100.0, 5000), (130.0, 8000)], 130.0, 100.0, id="what was before the window counts not"
        ),
        pytest.param([(0.0, 0), (10.0, 9000)], 20.0, 450.0, id="a pause of ten seconds lowers the rate"),
        pytest.param([(100.0, 0)], 106.0, None, id="nothing for six seconds is no stall yet"),
        pytest.param([(0.0, 0), (10.0, 9000)], 45.0, 0.0, id="nothing for thirty seconds is a stall"),
    ],
)
def test_the_rate_is_that_of_the_last_thirty_seconds(
    samples: list[tuple[float, int]], now: float, expected: float | None
) -> None:
    assert progress.rate(samples, now) == expected


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        pytest.param(
            Reading(12_300_000_000, 29_200_000_000, "B", "ema.safetensors", 310e6),
            "12.3 GB/29.2 GB  310.0 MB/s  55 s left  ema.safetensors",
            id="a download that moves",
        ),
        pytest.param(
            Reading(5_000_000, 9_000_000, "B", "a", 0.0),
            "5.0 MB/9.0 MB  stalled: no data for 30 s  a",
            id="a stall is shown as a stall",
        ),
        pytest.param(Reading(5_000_000, 9_000_000, "B", "a", None), "5.0 MB/9.0 MB  a", id="no rate yet, no promise"),
        pytest.param(Reading(9, 9, "B", "a", 1.0), "9 B/9 B  a", id="all is there"),
        pytest.param(Reading(12, 0, "packages", "pip", 2.0), "12 packages  pip", id="no total, no time left"),
        pytest.param(Reading(3, 5, "", "", 1.0), "3/5 model files", id="the task's noun where the work says none"),
        pytest.param(Reading(3, 5, "steps", "venv", 1.0), "3/5 steps  venv", id="steps take no equal time"),
    ],
)
def test_a_line_says_what_a_person_wants_to_know(reading: Reading, expected: str) -> None:
    assert progress.line(reading, "model files") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (99.4, "99 s"),
        (754, "12 min 34 s"),
        (3599, "59 min 59 s"),
        (7260, "2 h 1 min"),
        (float("inf"), "more than a year"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, expected: str) -> None:
    assert progress.duration(seconds) == expected


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(steps=st.lists(st.tuples(st.floats(0.01, 8.0), st.integers(0, 10**9)), min_size=2, max_size=120))
def test_thinned_samples_give_nearly_the_rate_of_all(steps: list[tuple[float, int]]) -> None:
    now, done, every, kept = 1000.0, 0, [(1000.0, 0)], [(1000.0, 0)]
    for pause, more in steps:
        now, done = now + pause, done + more
        every.append((now, done))
        kept = progress.thinned([*kept, (now, done)], now)
    assert len(kept) <= 2 * progress.WINDOW + 3
    assert kept[-1] == every[-1]
    assert all(sample in every for sample in kept)
    assert (progress.rate(kept, now) is None) == (progress.rate(every, now) is None)


def test_at_most_two_writes_a_second_reach_the_disk() -> None:
    clock = Clock()
    written: list[dict[str, Any]] = []
    tell, seen = Progress(written.append, clock), set()
    for done in range(100):
        tell(done, 1000, "B", "file")
        clock.now += 0.1
        seen.add(json.dumps(written[-1]))
    assert 15 <= len(seen) <= 21


def test_the_end_and_a_new_name_are_written_at_once() -> None:
    clock = Clock()
    written: list[dict[str, Any]] = []
    tell = Progress(written.append, clock)
    tell(0, 10, "B", "first")
    tell(5, 10, "B", "second")
    assert written[-1]["what"] == "second"
    tell(10, 10, "B", "second")
    assert written[-1]["done"] == 10


def test_a_new_total_begins_a_new_measurement() -> None:
    clock = Clock()
    written: list[dict[str, Any]] = []
    tell = Progress(written.append, clock)
    tell(0, 10, "files", "asking")
    clock.now += 5
    tell(9, 10, "files", "asking")
    tell(0, 10**9, "B", "file")
    clock.now += 5
    tell(5 * 10**6, 10**9, "B", "file")
    assert progress.reading(written[-1], clock.now).rate == 10**6


def test_the_journal_gets_a_line_of_the_progress_now_and_then() -> None:
    clock, lines = Clock(), list[str]()
    tell = progress.journal(lines.append, clock, every=30.0)
    for name in ("first", "second", "third", "fourth"):
        tell(0, 10**9, "B", name)
        clock.now += 20.0
    assert [("first" in line, "third" in line) for line in lines] == [(True, False), (False, True)]
