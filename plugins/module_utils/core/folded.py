"""Names of hosts in little room: `gpu-[01-03,07]`, as Slurm and ClusterShell write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

DIGITS = re.compile(r"([0-9]{1,15})")  # Python refuses to read a number of thousands of digits
MOST = 4  # groups of names that are written out


def folded(names: Iterable[str]) -> dict[str, int]:
    """The names, those that differ in one number as one group, with its size. The order is that of the first names."""
    shapes: dict[str, list[list[str]]] = {}
    for name in dict.fromkeys(names):
        shapes.setdefault(DIGITS.sub("#", name), []).append(DIGITS.split(name))
    return {text: size for members in shapes.values() for text, size in _best(members).items()}


def hosts(names: Iterable[str], most: int = MOST) -> str:
    """All of them in one text; of many groups the first ones, and how many names the others are."""
    groups = folded(names)
    left = sum([*groups.values()][most:])
    return ", ".join([*groups][:most]) + (f" and {left} more" if left else "")


def _best(members: Sequence[Sequence[str]]) -> dict[str, int]:
    """Names of one shape, split at their numbers, folded at the number that leaves the fewest groups."""
    places = range(1, len(members[0]), 2)
    return min((_fold(members, place) for place in reversed(places)), key=len, default={"".join(members[0]): 1})


def _fold(members: Sequence[Sequence[str]], place: int) -> dict[str, int]:
    around: dict[tuple[str, str], list[str]] = {}
    for parts in members:
        around.setdefault(("".join(parts[:place]), "".join(parts[place + 1 :])), []).append(parts[place])
    return {f"{before}{_ranges(numbers)}{after}": len(numbers) for (before, after), numbers in around.items()}


def _ranges(numbers: Sequence[str]) -> str:
    """`7`, or `[01-03,07]`. A range goes on while the next number has the digits that counting gives it."""
    runs: list[list[str]] = []
    for number in sorted(numbers, key=lambda one: (int(one), one)):
        if runs and number == str(int(runs[-1][-1]) + 1).zfill(len(runs[-1][-1])):
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return texts[0] if len(numbers) == 1 else f"[{','.join(texts)}]"
