"""The numbers of a version, as a host may write it."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.version import numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [("580.159.04", (580, 159, 4)), ("3.11.2+deb12", (3, 11, 2, 12)), ("", ()), ("x", ()), ("٣.١", ())],
    ids=["a driver", "with letters", "nothing", "no number", "digits of another script"],
)
def test_a_version_is_its_numbers(text: str, found: tuple[int, ...]) -> None:
    assert numbers(text) == found


def test_a_version_of_no_end_is_read() -> None:
    assert numbers("9" * 5000)[0] == 999_999_999
