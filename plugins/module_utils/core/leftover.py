"""What a role left on a host; teardown asks each role (roles/<role>/leftovers.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Leftover:
    """A path of ours. `why` a person could miss it; the `word` of fleet_teardown_include that lets it go.

    `take`: how it is taken away where that is not by removing the path.
    """

    role: str
    path: str
    why: str = ""
    word: str = ""
    take: Callable[[], None] | None = None

    def goes(self, include: frozenset[str]) -> bool:
        return not self.why or self.word in include
