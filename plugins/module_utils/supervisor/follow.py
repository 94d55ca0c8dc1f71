"""Follows one started trainer: its pipes, its processes, its saves."""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from ..core import wire
from ..system.programs import Process
from ..trainer import checkpoint as checkpoints
from ..trainer.failures import Failure, failure_of
from . import hang, weights
from . import stop as supervisor_stop
from . import tree as supervisor_tree
from .guard_runner import asks
from .output import LogRateLimiter, Stderr, Stdout
from .peer import EVERY, PeerWatch
from .record import Record
from .transcript import Transcript
from .watch import Limits, Watch

BLOCK = 1 << 18  # bytes read at once
DRAIN = 5.0  # seconds to read what is left in the pipes once the trainer has ended
ECHO = 30.0  # seconds between two step lines in the journal


class Follower:
    """`flaw`: why the training must be stopped at once, although it runs."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        process: Process[bytes],
        record: Record,
        say: Callable[[str], None],
    ) -> None:
        now = time.monotonic()
        self._spec, self._process, self._say = spec, process, say
        self._folder = str(spec["checkpoint_dir"])
        self._rank = int(spec.get("node_rank") or 0)
        limits = Limits.of(spec)
        self._first = str((spec.get("hosts") or ["the first host"])[0])
        self._peer = PeerWatch(limits, self._first, asks(spec), now)
        self._steps = Watch(limits, int(spec.get("save_every") or 0), now)
        # a flood must not keep back why a training dies
        self._limiter, self._line_limiter = (
            LogRateLimiter(say),
            LogRateLimiter(say),
        )
        self._stdout = Stdout(self._limiter)
        self._stderr = Stderr(f"{record.folder}/errors.log", self._line)
        self._transcript = Transcript(str(spec["log"])) if self._rank == 0 and spec.get("log") else None
        self.flaw: Failure | None = None
        self._unsealed: list[int] = []
        self._echoed = self._looked = float("-inf")
        self._oom = supervisor_tree.oom_kills()
        self._selector = selectors.DefaultSelector()
        for pipe in filter(None, (process.stdout, process.stderr)):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, pipe)

    @property
    def watch(self) -> Watch | PeerWatch:
        return self._peer if self._rank else self._steps

    @property
    def step(self) -> int | None:
        return self._steps.last.step if self._steps.last else None

    @property
    def whole(self) -> bool:
        """The trainer said that it is at its end; a node without lines is believed its exit code."""
        return bool(self._rank) or self._steps.reader.reached is not None

    def look(self, seconds: float, answers: Sequence[Mapping[str, Any] | None] = ()) -> int | None:
        """Reads for at most so long; the script's exit code once it has ended. `answers`: of the run's first node."""
        for key, _events in self._selector.select(seconds):
            self._read(key.data)
        now = time.monotonic()
        self._limiter.tick(now)
        self._line_limiter.tick(now)
        if self._transcript:
            self._transcript.look(now)
        if self._rank:
            if now - self._looked >= EVERY:
                self._looked = now
                self._peer.look(supervisor_tree.mine(), now)
            for answer in answers:
                self._peer.observe(answer, now)
            self.flaw = self._peer.lost
        codes = supervisor_tree.reap()
        return codes.get(self._process.pid)

    def _read(self, pipe: IO[bytes]) -> None:
        try:
            block = os.read(pipe.fileno(), BLOCK)
        except BlockingIOError:
            return
        if not block:
            self._selector.unregister(pipe)
        elif pipe is self._process.stderr:
            self._stderr.feed(block)
        else:
            self._stdout.feed(block, time.monotonic())

    def _line(self, line: str) -> None:
        now = time.monotonic()
        moved = self._steps.feed(line, now)
        if moved:
            self._stdout.forget()
        if self._steps.saving is not None and self._steps.saving not in self._unsealed:
            self._unsealed = [self._steps.saving]
        if self.flaw is None and (moved or "oad" in line or "scratch" in line or "_IncompatibleKeys" in line):
            self.flaw = weights.flaw(self._steps, self._spec, self._say)
        if "(step=" not in line or now - self._echoed >= ECHO or self._steps.saving is not None:
            self._echoed = now
            self._line_limiter.text(line, now)

    def whole_saves(self, now: float) -> list[int]:
        """Saves that became whole since the last look; looked at a few times a second while one goes on."""
        done: list[int] = []
        for step in list(self._unsealed) if self._rank == 0 else []:
            found = checkpoints.examine(os.path.join(self._folder, f"{step:07d}"), step)
            self._steps.save_grew(step, found.size, now)
            if found.whole:
                self._unsealed.remove(step)
                self._steps.save_ended(step, now)
                done.append(step)
        return done

    def judge(self, stop: supervisor_stop.Stop, now: float) -> supervisor_stop.StopDecision:
        if self._rank:
            return supervisor_stop.judge_peer(stop, self._peer, self._first, now)
        return supervisor_stop.judge(stop, self._steps, now)

    def diagnose(self) -> Failure:
        """Why it does not move."""
        watch = self.watch
        tail = list(self._stderr.lines)[-8:]
        silent = [self._first] if self._rank and asks(self._spec) else []
        tree, repeats = supervisor_tree.mine(), self._stdout.repeats
        ranks = {one.pid: supervisor_tree.rank_of(one.pid) for one in supervisor_tree.stopped(tree)}
        return hang.diagnose(watch.stage, watch.limit, tree, repeats, tail, silent, ranks)

    def why(self, code: int) -> Failure:
        """Why the script ended with this code."""
        result = "oom-kill" if supervisor_tree.oom_kills() > self._oom else ""
        if code == 0:
            line = "the script ended with 0, but the trainer never said that it reached its last step"
            return Failure("ENDED_EARLY", line, tuple(self._stderr.lines)[-8:])
        if code in (126, 127) and self._steps.reader.start is None:
            lines = list(self._stderr.lines)[-1:] or [f"bash ended with {code}"]
            return Failure("SCRIPT_MISSING", lines[0][-300:])
        found = failure_of(self._stderr.text(), result)
        if found is not None:
            return found
        last = tuple(self._stderr.lines)[-8:]
        by = f"signal {-code}" if code < 0 else f"exit code {code}"
        return Failure("RANK_KILLED" if code == -9 else "UNKNOWN", last[-1][-300:] if last else f"ended by {by}", last)

    def drain(self) -> None:
        """Read the rest of the pipes."""
        until = time.monotonic() + DRAIN
        while self._selector.get_map() and time.monotonic() < until:
            supervisor_tree.end(None, 0)
            for key, _events in self._selector.select(0.2):
                self._read(key.data)

    def close(self) -> None:
        self.drain()
        self._stderr.close()
        if self._transcript:
            self._transcript.look(time.monotonic(), at_once=True)
        self._limiter.close()
        self._line_limiter.close()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.returncode = 0  # reaped here, not by subprocess

    def progress(self) -> dict[str, Any]:
        """For the record: how far it is."""
        watch, log = self.watch, wire.to_dict(self._steps.log().summary())
        now = time.monotonic()
        return {
            **{name: log[name] for name in ("step", "total_steps", "start_step", "losses", "rate", "seconds_left")},
            "weights": log["weights"],
            "saving": watch.saving,
            "saved": watch.saved,
            "ready": watch.ready,
            "still_for": round(now - watch.since, 1),
            "limit": round(watch.limit, 1),
        }
