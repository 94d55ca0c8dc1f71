"""File systems that do not answer, such as one of a dead file server. A program that reads them waits for ever."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from ..system import files, limits
from ..system.parts import Part, answers

MOUNTS = "/proc/self/mountinfo"


def silent(values: Iterable[str], until: float, table: str = "") -> dict[str, str]:
    """Why there is no answer, by file system, of those that the paths among the values lie on. `table`: in tests."""
    paths = {value for value in values if value.startswith("/")}
    rows = [line.split(" ") for line in (table or files.kernel(MOUNTS).decode(errors="replace")).splitlines()]
    places = {_unescaped(row[4]): " from ".join(row[row.index("-") + 1 :][:2]) for row in rows if "-" in row}
    asked = {
        at: kind for at, kind in places.items() if any(f"{path}/".startswith(f"{at.rstrip('/')}/") for path in paths)
    }
    parts = {f"the file system {at} ({kind})": _size_of(at) for at, kind in asked.items()}
    return answers(parts, until)[1]


def _size_of(path: str) -> Part:
    return Part(lambda: os.statvfs(path).f_blocks, limits.MOUNT_SECONDS)


def _unescaped(text: str) -> str:
    """The kernel writes a space as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
