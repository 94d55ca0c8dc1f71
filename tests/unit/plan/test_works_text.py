"""Long work that runs on hosts, as a person reads it."""

from __future__ import annotations

from ansible_collections.canvas.fleet.plugins.module_utils.machine.long_work import Work
from ansible_collections.canvas.fleet.plugins.module_utils.plan.works_text import work_lines

WEIGHTS = Work("weights", "canvas-work-weights", since=1_800_000_000, seconds=125, progress="12.0 of 29.2 GB")
DATA = Work("dataset", "canvas-work-dataset", since=1_800_000_060, seconds=65)


def test_nothing_is_said_where_nothing_runs() -> None:
    assert work_lines({}) == work_lines({"a": ()}) == []


def test_each_work_is_named_with_its_host_its_time_and_its_unit_once() -> None:
    head, first, second, third, last = work_lines({"a": (WEIGHTS, DATA), "b": (WEIGHTS,)})
    assert head.split() == ["host", "long", "work", "since", "for", "progress"]
    assert first.split() == ["a", "weights", "08:00", "UTC", "2", "min", "5", "s", *WEIGHTS.progress.split()]
    assert second.split()[:4] == ["a", "dataset", "08:01", "UTC"]
    assert third.split()[:2] == ["b", "weights"]
    assert last.endswith("Units: canvas-work-weights, canvas-work-dataset")
    assert "site.yml attaches to it again" in last
