"""A node that is not the first of its run: its ranks print no step, so that other signs have to tell that it lives.

A rank that trains computes, and one that hangs in gloo does not; one that hangs in NCCL computes as well, and is found
by the first node, whose steps stop. Each rank makes the folder of a save when the save begins, on every node.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ansible_collections.canvas.fleet.plugins.module_utils.progress import duration
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor_tree import Process, stopped
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor_watch import Limits

BUSY = 0.02  # of a processor, by all ranks together: less is a heartbeat, not a step
PROOF = 10.0  # seconds of work that prove a start


class PeerWatch:
    """The signs of life of a node without step lines. The same words as Watch, as far as the supervisor asks."""

    def __init__(self, limits: Limits, checkpoint_dir: str, first_host: str, now: float) -> None:
        self.stage, self.since = "load", now
        self.saving: int | None = None
        self.saved: int | None = None
        self._limits, self._folder, self._first = limits, checkpoint_dir, first_host
        self._begin, self._looked, self._cpu = now, now, 0.0
        self._share, self._held = 0.0, False
        self._folders = self._names()

    @property
    def ready(self) -> bool:
        return self.stage != "load"

    @property
    def limit(self) -> float:
        """A save of the first node, or its loading, keeps the others waiting. A rank that is held has no excuse."""
        if self._held:
            return self._limits.floor
        return max(self._limits.floor, self._limits.load if self.stage == "load" else self._limits.save)

    @property
    def deadline(self) -> float:
        return self.since + self.limit

    def feed(self, line: str, now: float) -> bool:
        return False

    def look(self, tree: Sequence[Process], now: float) -> None:
        """Every second or so: do the ranks work, has a save begun?"""
        if now - self._looked < 1.0:
            return
        cpu = sum(one.cpu for one in tree)
        self._share = max(0.0, cpu - self._cpu) / (now - self._looked)
        self._cpu, self._looked = cpu, now
        names, self._held = self._names(), bool(stopped(tree))
        if (self._share >= BUSY and not self._held) or names - self._folders:
            self.since = now
        self._folders = names
        if self.stage == "load" and tree and now - self._begin >= PROOF:
            self.stage = "steps"

    def status(self) -> str:
        still = self._looked - self.since
        works = f"the ranks here use {self._share:.1f} processors"
        return f"{self._first} tells the steps; {works if still < 2 else f'no work here for {duration(still)}'}"

    def _names(self) -> set[str]:
        try:
            return set(os.listdir(self._folder))
        except OSError:
            return set()
