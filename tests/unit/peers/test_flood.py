"""A training on two nodes goes on under a flood. The full one: `python -m tests.chaos flood`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.support.flooded import SOURCES, Run, flood


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    made = Run(tmp_path_factory.mktemp("flooded"))
    try:
        yield made.start()
    finally:
        made.end()


@pytest.mark.parametrize("who", SOURCES)
def test_a_training_goes_on_under_a_flood(run: Run, who: str) -> None:
    found = flood(run, who, 300)
    assert found["connections"] == 300
    assert found["lives"], run.first.output
    assert found["steps"] > 0
    assert found["answers"] >= 1
    assert found["threads"] <= 8, found
    assert found["memory_kib"] < 8 << 10, found
