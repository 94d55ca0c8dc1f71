"""The checkpoint guard, called in threads of its own so that steps and signals are followed meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..core.errors import FleetError
from ..core.progress import log
from ..trainer.failures import Failure

DISK_EVERY = 30.0  # seconds between two looks at the disk
PEER_EVERY = 3.0  # seconds between two questions to the first node of the run
CLOSE = 20.0  # seconds that a save which was begun to be sealed may take at the end
Say = Callable[[str], None]


class Guard(Protocol):
    """supervisor/guard.py, whose functions have these signatures."""

    def before_start(self, spec: Mapping[str, Any], say: Say) -> None: ...
    def after_save(self, spec: Mapping[str, Any], step: int, say: Say) -> None: ...
    def low_disk(self, spec: Mapping[str, Any]) -> str: ...
    def note(self, phase: str, step: int | None) -> None: ...
    def lost_peers(self) -> list[int]: ...
    def peer_state(self, spec: Mapping[str, Any]) -> dict[str, Any] | None: ...
    def close(self) -> None: ...


def real_guard() -> Guard:
    from . import guard as supervisor_guard

    guard: Guard = supervisor_guard
    return guard


def asks(spec: Mapping[str, Any]) -> bool:
    """True on a node that can ask the first one for its state."""
    return bool(spec.get("node_rank")) and bool(spec.get("peer_port")) and bool(spec.get("auto_resume", True))


class GuardRunner:
    """before_start once, then after_save for one save after the other, and a look at the disk now and then."""

    def __init__(self, guard: Guard | None = None) -> None:
        self._guard = guard or real_guard()
        self.failure: Failure | None = None
        self.retry = False
        self._spec: Mapping[str, Any] = {}
        self._say: Say = log
        self._preparing: threading.Thread | None = None
        self._todo: deque[int] = deque()
        self._wake = threading.Condition()
        self._working = False
        self._closed = False
        self._note, self._looked = "", float("-inf")
        self._answers: deque[dict[str, Any] | None] = deque(maxlen=8)

    def begin(self, spec: Mapping[str, Any], say: Say) -> None:
        self._spec, self._say = spec, say
        self._preparing = threading.Thread(target=self._prepare, daemon=True)
        self._preparing.start()

    def prepared(self) -> bool:
        return self._preparing is not None and not self._preparing.is_alive()

    def _prepare(self) -> None:
        try:
            self._guard.before_start(self._spec, self._say)
        except FleetError as error:
            self.failure = Failure(getattr(error, "kind", "CHECKPOINT_GUARD"), str(error)[:300])
            self.retry = bool(getattr(error, "retry", False))
        except Exception as error:
            lines = tuple(traceback.format_exc().splitlines()[-12:])
            self.failure, self.retry = Failure("CHECKPOINT_GUARD", f"{type(error).__name__}: {error}", lines), False
        if self.failure is None:
            threading.Thread(target=self._work, daemon=True).start()
            if asks(self._spec):
                threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        """On a node of rank above 0: how the first one fares."""
        while not self._closed:
            with contextlib.suppress(Exception):
                self._answers.append(self._guard.peer_state(self._spec))
            time.sleep(PEER_EVERY)

    def answers(self) -> list[dict[str, Any] | None]:
        """The first node's answer since the last call."""
        return [self._answers.popleft() for _again in range(len(self._answers))]

    def tell(self, stage: str, step: int | None) -> None:
        """For the other nodes: where this one stands."""
        with contextlib.suppress(Exception):
            self._guard.note(stage, step)

    def lost_peers(self) -> list[int]:
        """Ranks of nodes whose part in this attempt has ended."""
        with contextlib.suppress(Exception):
            return self._guard.lost_peers()
        return []

    def saves(self, steps: Sequence[int]) -> None:
        """Checkpoints that were seen to be whole."""
        if steps:
            with self._wake:
                self._todo.extend(steps)
                self._wake.notify_all()

    def _work(self) -> None:
        while (step := self._next()) is not None:
            if step >= 0:
                try:
                    self._guard.after_save(self._spec, step, self._say)
                except Exception as error:
                    self._say(f"step {step} could not be sealed: {type(error).__name__}: {error}")
                self._looked = float("-inf")
            self._disk()

    def _next(self) -> int | None:
        """The next save; -1 when none came for a while, None when none will come any more."""
        with self._wake:
            self._working = False
            self._wake.notify_all()
            if not self._todo and not self._closed:
                self._wake.wait(DISK_EVERY)
            if not self._todo:
                return None if self._closed else -1
            self._working = True
            return self._todo.popleft()

    def _disk(self) -> None:
        now = time.monotonic()
        if now - self._looked < DISK_EVERY:
            return
        self._looked = now
        with contextlib.suppress(Exception):
            note = self._guard.low_disk(self._spec)
            if note and note != self._note:
                self._say(note)
            self._note = note

    def note(self) -> str:
        """Text after the status: a disk that the next save would fill."""
        return f"; {self._note}" if self._note else ""

    def close(self) -> None:
        """Lets a save that is being sealed be sealed, for a while."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
            self._wake.wait_for(lambda: not self._todo and not self._working, CLOSE)
        self._guard.close()
