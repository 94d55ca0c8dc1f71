"""The program of a training's unit: starts the user's script, follows it, and speaks systemd's protocol for it.

Started as `python3 <payload> <spec.json>` by the unit, as the training's user, and before that as root, with `started`
before the spec, to note what the start is made from; with `merge` or `evaluate` before it, it is another unit
(merged.py, evaluated.py). It is ready at the first step, gives a
sign of life only while steps advance, ends the training after a save when it is asked to stop, and leaves with an exit
code that tells systemd whether another start makes sense:

    0   the run is finished
    75  failed, to be tried again
    78  failed, and would fail again: a person has to change something
    79  stopped as asked

A pause between two starts grows with the failures in a row; it is waited for here, since systemd before 254 knows one
length only. What a start and its end look like on the disk: supervisor/record.py.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from ..core.progress import duration
from ..system import files, programs
from ..trainer.failures import Failure, retried
from . import evaluated, merged, started, tree
from . import stop as supervisor_stop
from .follow import Follower
from .guard_runner import GuardRunner
from .record import Record, kernel_failure
from .sd_notify import Notifier

FINISHED, AGAIN, FINAL, STOPPED = 0, 75, 78, 79
PAUSES = (10.0, 30.0, 90.0, 300.0, 600.0)  # seconds before the 2nd, 3rd … start in a row
PERIOD = 0.25  # seconds between two looks
MARGIN = 2.0  # seconds that systemd waits longer than the supervisor, so that the class is written first
GRACE = 5.0  # seconds until the supervisor does itself what systemd's watchdog should have done
END_TIMEOUT = 15.0  # seconds that the trainer's processes have to end after SIGTERM
PREPARE = 7200.0  # seconds without a message while checkpoints are prepared


class EndError(Exception):
    """The training of this start is over."""

    def __init__(self, code: int, text: str, failure: Failure | None = None) -> None:
        super().__init__(text)
        self.code, self.failure = code, failure


class Supervisor:
    """One start of one training."""

    def __init__(
        self, spec: Mapping[str, Any], notifier: Notifier, guard: GuardRunner, pauses: tuple[float, ...] = PAUSES
    ):
        self.spec, self.notifier, self.guard, self._pauses = spec, notifier, guard, pauses
        self.record = Record(f"{spec['record']}/own", os.environ.get("INVOCATION_ID", ""))
        self.stage = "prepare"
        self._stop: supervisor_stop.Stop | None = None
        self._abort = False
        self._written, self._message = 0.0, "looks at the checkpoints"
        self._first: int | None = None
        self._named: Failure | None = None
        self._follower: Follower | None = None

    # what others ask of it

    def asked_to_stop(self, number: int, _frame: FrameType | None = None) -> None:
        """SIGTERM: after the next save, within the limit. SIGINT: at once."""
        now = time.monotonic()
        limit = float(self.spec.get("stop_seconds", 0))
        at_once = number == signal.SIGINT or self.spec.get("stop") == "now"
        since = self._stop.since if self._stop else now
        self._stop = supervisor_stop.Stop(since, since + limit, at_once or bool(self._stop and self._stop.at_once))

    def aborted(self, _number: int, _frame: FrameType | None = None) -> None:
        """SIGABRT: systemd's watchdog, or its limit for a start."""
        self._abort = True

    # one start, from its pause to its end

    def run(self) -> int:
        tries = self.record.tries()
        try:
            self._pause(tries)
            self._prepare()
            self._train()
        except EndError as end:
            return self._over(end, tries)
        raise AssertionError("a training ends by EndError")

    def _pause(self, tries: int) -> None:
        if (lost := kernel_failure(str(self.spec["record"]))) is not None:
            raise EndError(FINAL, "", lost)
        if not tries:
            return
        seconds = self._pauses[min(tries, len(self._pauses)) - 1]
        until = time.monotonic() + seconds
        self.stage = "pause"
        self._say(f"start {tries + 1} in a row: waits {duration(seconds)} first")
        self.notifier.extend(seconds + 60)
        while (left := until - time.monotonic()) > 0:
            self._tell(f"waits {duration(left)} before start {tries + 1} in a row")
            self._leave_if_asked()
            time.sleep(min(PERIOD, left))

    def _prepare(self) -> None:
        self.stage = "prepare"
        self.notifier.extend(PREPARE)
        self.guard.begin(self.spec, self._heard)
        while not self.guard.prepared():
            self._leave_if_asked()
            self._tell(self._message)
            time.sleep(PERIOD)
        if self.guard.failure is not None:
            raise EndError(AGAIN if self.guard.retry else FINAL, "", self.guard.failure)

    def _heard(self, text: str) -> None:
        """A word of the checkpoint guard, from a thread of its own."""
        self._message = text
        self._say(text)
        if self.stage == "prepare":
            self.notifier.extend(PREPARE)

    def _leave_if_asked(self) -> None:
        if self._stop:
            raise EndError(STOPPED, "stopped before the trainer was started")
        if self._abort:
            reason = "the start took longer than the limit in systemd"
            raise EndError(AGAIN, "", Failure("HANG_PREPARE", f"{self.stage}: {reason}"))

    def _train(self) -> None:
        self.stage = "load"
        script, folder = str(self.spec["script"]), str(self.spec["working_dir"])
        process = programs.start("/bin/bash", script, cwd=folder, start_new_session=True)
        self._first = process.pid
        self._follower = follower = Follower(self.spec, process, self.record, self._say)
        announced, ready = 0.0, False
        while (code := follower.look(PERIOD if not self._stop else PERIOD / 3, self.guard.answers())) is None:
            now = time.monotonic()
            watch = follower.watch
            self.stage = watch.stage
            self._peers(follower)
            if follower.flaw is not None:
                raise EndError(AGAIN, "", follower.flaw)
            if watch.ready and not ready:
                ready = True
                self.notifier.ready()
            if watch.deadline != announced:
                announced = watch.deadline
                (self.notifier.alive if ready else self.notifier.extend)(max(0.0, announced - now) + MARGIN)
            if self._abort or (now > watch.deadline and not self._stop):
                self._hangs(follower, now)
            self.guard.saves(follower.whole_saves(now))
            self._stops(follower, now)
            self._tell(f"{watch.status()}{self.guard.note()}")
        self._ended_by_itself(follower, code)

    def _peers(self, follower: Follower) -> None:
        """The first node reports its state, and ends when another node has ended its part."""
        if int(self.spec.get("nnodes") or 1) < 2 or self.spec.get("node_rank"):
            return
        self.guard.tell(self.stage, follower.step)
        lost = self.guard.lost_peers() if self.stage != "end" and not self._stop else []
        if lost:
            hosts = [str(host) for host in self.spec.get("hosts") or ()]
            names = [hosts[rank] if rank < len(hosts) else f"node {rank}" for rank in lost]
            follower.flaw = Failure("PEER_LOST", f"{', '.join(names)} has ended its part in this attempt")

    def _stops(self, follower: Follower, now: float) -> None:
        if self._stop is None:
            return
        word = follower.judge(self._stop, now)
        if word.end:
            raise EndError(STOPPED, word.text)
        self._tell(f"{word.text}; {follower.watch.status()}")

    def _hangs(self, follower: Follower, now: float) -> None:
        """The class is on the disk before systemd's watchdog strikes; where it does not, the end is made here."""
        failure = follower.diagnose()
        self.record.failed(failure, retried(failure.kind), self.stage)
        self._name(failure)
        self.notifier.status(f"{failure.kind}: {failure.line}")
        until = now + MARGIN + float(self.spec.get("grace", GRACE))
        while not self._abort and not self._stop and time.monotonic() < until:
            follower.look(PERIOD)
        raise EndError(AGAIN, "", failure)

    def _ended_by_itself(self, follower: Follower, code: int) -> None:
        follower.drain()
        if code == 0 and follower.whole:
            if not follower.watch.ready:
                self.notifier.ready()
            raise EndError(FINISHED, "finished")
        if self._stop:
            raise EndError(STOPPED, "the trainer ended during the stop")
        raise EndError(AGAIN, "", follower.why(code))

    def _over(self, end: EndError, tries: int) -> int:
        """Nothing is left running, and the record says how it ended."""
        failure, code = end.failure, end.code
        self.stage = "end"
        timeout = 0.0 if self._abort or (failure and failure.kind.startswith("HANG")) else END_TIMEOUT
        left = tree.end(self._first, timeout)
        if self._follower is not None:
            if code == FINISHED:
                self.guard.saves(self._follower.whole_saves(time.monotonic()))
            self._follower.close()
        self.guard.close()
        if failure is not None:
            code = self._failed(failure, code, tries)
        else:
            self.record.forget_failure()
            self.record.tried(0)
            self._say(str(end))
        self._tell(f"{failure.kind}: {failure.line}" if failure else str(end), at_once=True)
        if left:
            self._say(f"processes that could not be ended: {left}")
        return code

    def _failed(self, failure: Failure, code: int, tries: int) -> int:
        saved = self._follower is not None and self._follower.watch.saved is not None
        count = 1 if saved else tries + 1
        again = code != FINAL and retried(failure.kind) and not self._stop
        given_up = again and count > int(self.spec.get("restarts", 0))
        again = again and not given_up
        self.record.failed(failure, again, self.stage)
        self.record.tried(count if again else 0)
        self._name(failure)
        for line in failure.lines:
            self._say(f"  {line}")
        if given_up:
            self._say(f"is not started again: {count} failures in a row (training_restarts)")
        if self._stop:
            return STOPPED
        return AGAIN if again else FINAL

    # reporting

    def _name(self, failure: Failure) -> None:
        """The class in the journal, once: a hang is named before its end is made, and is how the start ends."""
        if failure is not self._named:
            self._say(f"{failure.kind}: {failure.line}")
        self._named = failure

    def _say(self, text: str) -> None:
        sys.stdout.write(text.rstrip() + "\n")
        sys.stdout.flush()

    def _tell(self, status: str, at_once: bool = False) -> None:
        self.notifier.status(status)
        now = time.monotonic()
        if now - self._written < 1.0 and not at_once:
            return
        self._written = now
        progress = self._follower.progress() if self._follower else {}
        stop = None if self._stop is None else {"since": self._stop.since, "until": self._stop.until}
        self.record.state({**progress, "stage": self.stage, "status": status, "stop": stop})


def main(arguments: list[str]) -> int:
    # Not all file names are UTF-8.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if arguments[0] == "started":
        return started.note(arguments[1], os.environ)
    if arguments[0] == "merge":
        return merged.run(arguments[1])
    if arguments[0] == "evaluate":
        return evaluated.run(arguments[1])
    spec = json.loads(files.read(arguments[0]))
    tree.adopt()
    supervisor = Supervisor(spec, Notifier(os.environ), GuardRunner())
    signal.signal(signal.SIGTERM, supervisor.asked_to_stop)
    signal.signal(signal.SIGINT, supervisor.asked_to_stop)
    signal.signal(signal.SIGABRT, supervisor.aborted)
    code = supervisor.run()
    sys.stdout.flush()
    # A thread of the guard that still works must not keep the unit alive.
    os._exit(code)
