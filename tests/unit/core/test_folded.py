"""Names of hosts, folded as Slurm and ClusterShell do."""

from __future__ import annotations

import re

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.folded import folded, hosts


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param(["gpu-01"], "gpu-01", id="one name"),
        pytest.param(["atlas", "bolt"], "atlas, bolt", id="names without numbers"),
        pytest.param([f"gpu{n:02}" for n in range(1, 51)], "gpu[01-50]", id="a range keeps its digits"),
        pytest.param([f"n{n}" for n in range(8, 12)], "n[8-11]", id="a range without leading zeros"),
        pytest.param(["n08", "n9", "n10"], "n[08,9-10]", id="other digits are another name"),
        pytest.param(["g3", "g1", "g2", "g7"], "g[1-3,7]", id="in any order, with a gap"),
        pytest.param(["10.0.0.1", "10.0.0.2"], "10.0.0.[1-2]", id="addresses"),
        pytest.param(["n1.dc2", "n2.dc2"], "n[1-2].dc2", id="the number that differs, not the last one"),
        pytest.param(["r1n1", "r1n2", "r2n1", "r2n2"], "r1n[1-2], r2n[1-2]", id="two numbers"),
        pytest.param(["a1", "b", "a2", "a1"], "a[1-2], b", id="a name twice"),
        pytest.param(list("abcdef"), "a, b, c, d and 2 more", id="many groups"),
        pytest.param([*"abcd", "n1", "n2", "z"], "a, b, c, d and 3 more", id="many groups, counted by name"),
        pytest.param([], "", id="none"),
    ],
)
def test_names_are_folded(names: list[str], text: str) -> None:
    assert hosts(names) == text


def expanded(group: str) -> list[str]:
    """What Slurm and ClusterShell make of a group."""
    parts = re.fullmatch(r"(.*)\[(.*)\](.*)", group)
    if not parts:
        return [group]
    names = []
    for run in parts[2].split(","):
        first, _, last = run.partition("-")
        counted = range(int(first), int(last or first) + 1)
        names += [f"{parts[1]}{number:0{len(first)}}{parts[3]}" for number in counted]
    return names


def test_no_name_is_lost_and_none_is_made_up() -> None:
    numbers = ("1", "01", "2", "3", "9", "10", "007")
    names = [f"{kind}{n}{more}" for kind in ("a", "b-", "r2-") for n in numbers for more in ("", ".x9")]
    groups = folded(names)
    assert sorted(name for group in groups for name in expanded(group)) == sorted(names)
    assert [len(expanded(group)) for group in groups] == [*groups.values()]
    assert len(groups) < len(names) / 2


def test_a_number_of_any_length_is_a_name() -> None:
    names = ["n" + "9" * 9000, "d[1-99999999999]"]
    assert hosts(names) == ", ".join(names)
