"""A host as it is compared with others."""

from __future__ import annotations

from ansible_collections.canvas.fleet.plugins.module_utils.machine.environment import Environment
from ansible_collections.canvas.fleet.plugins.module_utils.machine.host import Host


def test_a_clock_is_compared_with_the_middle_of_the_question() -> None:
    """It may have been read at any moment in between."""
    assert Host("a", Environment(), time=107.0, asked=(100.0, 104.0)).skew == (5.0, 2.0)
    assert Host("a", Environment(), time=107.0).skew is None
