"""When a training moves, and how long it may stand still: lines and a clock in, stage and deadline out. Pure.

Times are seconds of a clock that only goes forward. Each stage has a limit that is announced: reading the weights, the
first steps (the compiler works), a save, and else the steps themselves: twice the 99th percentile of the times between
step lines that were seen, and never less than the floor. The trainer logs every `log_every` steps; nothing finer is
visible.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.progress import duration
from ..trainer.log import RECENT, Reader, Step, TrainLog

WARM = 3  # times between step lines before they are believed: the first ones hold the compiler
SEEN = 2000  # times between step lines that are remembered
STAGES = {
    "load": "loads",
    "first_step": "first steps",
    "steps": "trains",
    "save": "saves",
    "end": "ends",
}


@dataclass(frozen=True)
class Limits:
    """Seconds that a stage may last, and a save stand still; `floor`: the least that a step may take."""

    load: float = 3600.0
    first_step: float = 1800.0
    save: float = 900.0
    floor: float = 30.0

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Limits:
        names = {
            "load": "load_seconds",
            "first_step": "first_step_seconds",
            "save": "save_seconds",
            "floor": "step_seconds",
        }
        return cls(**{own: float(spec[name]) for own, name in names.items() if name in spec})


class Watch:
    """One start of the trainer, from its log lines. `save_every`: steps between two saves."""

    def __init__(self, limits: Limits, save_every: int, now: float) -> None:
        self.reader = Reader(keep=RECENT)
        self.stage = "load"
        self.saving: int | None = None  # the step that is being saved
        self.saved: int | None = None  # the newest step whose save was seen to be whole …
        self.saved_at = now  # … and when
        self.since = now  # the last sign of life
        self.last: Step | None = None
        self._limits, self._save_every = limits, save_every
        self._times: deque[float] = deque(maxlen=SEEN)
        self._line_at: float | None = None  # when the last step line came
        self._save_at, self._size = 0.0, 0  # when the save that goes on began, and its bytes so far
        self._saves = 0.0  # seconds of whole saves since the last step line
        self._torn = False  # a save since the last step line whose end was not seen

    @property
    def ready(self) -> bool:
        """A step was made, or the run is at its end: the start is proved."""
        return self.last is not None or self.reader.reached is not None

    @property
    def limit(self) -> float:
        """Seconds from the last sign of life to the next one."""
        if self.stage == "steps":
            return self.step_limit()
        return {"load": self._limits.load, "first_step": self._limits.first_step}.get(self.stage, self._limits.save)

    @property
    def deadline(self) -> float:
        return self.since + self.limit

    def step_limit(self) -> float:
        times = sorted(self._times)
        if len(times) < WARM:
            return self._limits.first_step
        return max(self._limits.floor, 2 * times[max(0, -(-99 * len(times) // 100) - 1)])

    def feed(self, line: str, now: float) -> bool:
        """A plain line of the trainer; True when it is a sign of life."""
        known = (self.reader.start, self.reader.reached, self.reader.saving)
        step = self.reader.feed(line)
        if step is not None:
            return self._stepped(step, now)
        if self.reader.reached is not None and self.stage != "end":
            self.stage, self.since = "end", now
        elif self.stage == "load" and self.reader.start is not None:
            self.stage, self.since = "first_step", now
        elif self.reader.saving is not None and self.reader.saving != known[2]:
            self._save_begins(self.reader.saving, now)
        return known != (self.reader.start, self.reader.reached, self.reader.saving)

    def _stepped(self, step: Step, now: float) -> bool:
        if self.last is not None and step.step <= self.last.step:
            return False  # a line that was written twice is no step
        if self.saving is not None and step.step > self.saving:
            self._torn, self.saving = True, None
        if self._line_at is not None and not self._torn:
            self._times.append(max(0.0, now - self._line_at - self._saves))
        self._line_at, self._saves, self._torn = now, 0.0, False
        self.last, self.since, self.stage = step, now, "steps"
        if self.saving is not None:
            self.stage = "save"
        elif step.step > 0 and self._save_every > 0 and step.step % self._save_every == 0:
            self._save_begins(step.step, now)
        return True

    def _save_begins(self, step: int, now: float) -> None:
        if self.saved is not None and step <= self.saved:
            return
        if self.saving != step:
            self._save_at, self._size = now, 0
        self.saving, self.since, self.stage = step, now, "save"

    def save_grew(self, step: int, size: int, now: float) -> None:
        """Its files have `size` bytes now: as long as they grow, the save lives."""
        if self.saving == step and size > self._size:
            self._size, self.since = size, now

    def save_ended(self, step: int, now: float) -> None:
        """The checkpoint of this step was seen to be whole."""
        self.saved, self.saved_at = step, now
        if self.saving == step:
            self._saves += now - self._save_at
            self.saving, self.since = None, now
            self.stage = "steps" if self.stage == "save" else self.stage

    def log(self) -> TrainLog:
        return self.reader.log()

    def unsaved(self, now: float) -> bool:
        """True when a stop now would lose a step. Between two step lines only the time shows that steps were made."""
        begin, rate = self.reader.start, self.log().rate()
        if self.last is None or begin is None:
            return False
        if self.last.step > (self.saved if self.saved is not None else begin - 1):
            return True
        return self.saved is not None and bool(rate) and now - self.saved_at > max(1.0, 0.5 / float(rate or 1))

    def save_in(self) -> float | None:
        """Seconds until the next save begins; None when unknown, 0 during a save."""
        if self.saving is not None:
            return 0.0
        rate = self.log().rate()
        if not rate or self.last is None or self._save_every <= 0:
            return None
        coming = (self.last.step // self._save_every + 1) * self._save_every
        if self.reader.total is not None and coming > self.reader.total:
            return None
        return (coming - self.last.step) / rate

    def status(self) -> str:
        """`step 35/60  ce 0.84  mse 1.20  4.1 steps/s  ETA 6 s`, or what goes on before the first step."""
        log = self.log()
        if self.last is None:
            goal = f" for {log.total} steps" if log.total is not None else ""
            if log.reached is not None:
                return f"at its end, step {log.reached}"
            return f"{STAGES[self.stage]}{goal}, at most {duration(self.limit)}"
        parts = [f"step {self.last.step}/{log.total if log.total is not None else '?'}"]
        parts += [f"{name} {value:.2f}" for name, value in sorted(self.last.losses.items())]
        rate, left = log.rate(), log.seconds_left()
        if rate:
            parts.append(f"{rate:.1f} steps/s" if rate >= 1 else f"{rate:.2f} steps/s")
        if self.saving is not None:
            parts.append(f"saves step {self.saving}")
        elif left is not None:
            parts.append(f"ETA {duration(left)}")
        return "  ".join(parts)
