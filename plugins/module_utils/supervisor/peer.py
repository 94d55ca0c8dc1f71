"""A node after the first: its ranks print no steps, so other signs show that it lives.

The first node answers for its steps (guard.peer_state), and its own supervisor ends it when they stop; so this
node waits for as long as the first one answers, and is in the same attempt. Without a port for that, what is left is
whether the ranks compute: one that hangs in gloo does not, one that hangs in NCCL does, and is found by the first node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.progress import duration
from ..trainer.failures import Failure
from .tree import Process, stopped
from .watch import Limits

BUSY = 0.02  # of a processor, by all ranks together: less is a heartbeat, not a step
PROOF = 10.0  # seconds of work that prove a start without a first node to ask
EVERY = 1.0  # seconds between two looks


class PeerWatch:
    """The signs of life of a node without step lines. The same words as Watch, as far as the supervisor asks."""

    def __init__(self, limits: Limits, first_host: str, asks: bool, now: float) -> None:
        self.stage, self.since = "load", now
        self.saving: int | None = None
        self.saved: int | None = None
        self.saved_at = now
        self.step: int | None = None
        self._limits, self._first, self._asks = limits, first_host, asks
        self._begin, self._looked, self._cpu = now, now, 0.0
        self._share, self._held_at = 0.0, 0.0
        self._proved = False
        self.lost: Failure | None = None  # the first node is in another attempt: these ranks wait for dead ones

    @property
    def ready(self) -> bool:
        """The first node has made a step in this attempt, so these ranks have; or they have computed for a while."""
        return self._proved

    @property
    def limit(self) -> float:
        """A rank that is held has no excuse, and a first node that is silent neither."""
        if self._asks or self._held_at:
            return self._limits.floor
        return max(self._limits.floor, self._limits.load if self.stage == "load" else self._limits.save)

    @property
    def deadline(self) -> float:
        return (self._held_at or self.since) + self.limit

    def look(self, tree: Sequence[Process], now: float) -> None:
        """Do the ranks work, or does a signal hold one?"""
        if now - self._looked < EVERY:
            return
        cpu = sum(one.cpu for one in tree)
        self._share = max(0.0, cpu - self._cpu) / (now - self._looked)
        self._cpu, self._looked = cpu, now
        self._held_at = (self._held_at or now) if stopped(tree) else 0.0
        if self._asks:
            return
        if self._share >= BUSY:
            self.since = now
        if tree and now - self._begin >= PROOF:
            self.stage, self._proved = "steps", True

    def observe(self, state: Mapping[str, Any] | None, now: float) -> None:
        """Take the first node's answer; None without one."""
        if state is None:
            return
        if not state.get("same"):
            line = f"{self._first} has begun another attempt: the ranks of this one wait for dead processes"
            self.lost = Failure("PEER_LOST", line)
            return
        self.since = now
        doing, step = str(state.get("doing") or ""), state.get("step")
        if isinstance(step, int):
            self.step, self._proved = step, True
        if doing == "save" and self.stage != "save":
            self.saving = self.step
        if doing != "save" and self.stage == "save":
            self.saved, self.saving, self.saved_at = self.saving, None, now
        self.stage = doing if doing in ("load", "first_step", "steps", "save", "end") else self.stage

    def status(self) -> str:
        still = self._looked - self.since
        works = f"the ranks here use {self._share:.1f} processors"
        if not self._asks:
            return works if still < 2 else f"no work here for {duration(still)}"
        if still > 10:
            return f"{self._first} has not answered for {duration(still)}; {works}"
        where = "loads" if self.step is None else f"is at step {self.step}"
        return f"{self._first} {where}{', saves' if self.stage == 'save' else ''}; {works}"
