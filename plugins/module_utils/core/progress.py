"""Progress of long work: a record on the host, read and shown on the controller.

A record is a small JSON file: {"done", "total", "unit", "what", "samples": [[at, done], …]}, times in seconds of the
host's clock. Rate and time left are pure functions of it, over the last 30 s and not since the start: a stall is shown
as a stall, not as a large number.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import shown

WINDOW = 30.0  # seconds that the rate looks back
JOURNAL_EVERY = 30.0  # seconds between two lines of the journal
WRITE_EVERY = 0.5  # seconds between two writes of the record
YEAR = 365 * 86_400.0  # seconds; a longer time says that nobody knows
EVEN = ("B", "%", "rows")  # units of about equal duration, which allow an estimate of the time left
Write = Callable[[dict[str, Any]], None]  # of a record, as below a work
STEPS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def log(text: object) -> None:
    """A line of the log of a work or a supervisor, which is its standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Step:
    """A record, as far as it is read."""

    done: int = 0
    total: int = 0
    unit: str = ""
    what: str = ""
    samples: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class Reading:
    """Units done of a total (0: unknown), and units per second over the last 30 s (None: too early)."""

    done: int
    total: int
    unit: str  # "B" for bytes, else the noun of what is counted
    what: str  # what is being worked on now
    rate: float | None

    def seconds_left(self) -> float | None:
        """None while nothing moves or the total is not known."""
        if not self.rate or not self.total:
            return None
        return max(0, self.total - self.done) / self.rate


class Progress:
    """Called by a work at any rate; at most two records a second are written, none without `write`."""

    def __init__(self, write: Write | None = None, clock: Callable[[], float] = time.time) -> None:
        self._write = write
        self._clock = clock
        self._samples: list[tuple[float, int]] = []
        self._last: tuple[int, str, str] | None = None
        self._written = float("-inf")

    def __call__(self, done: int, total: int = 0, unit: str = "", what: str = "") -> None:
        """`done` of `total` (both in `unit`); a new unit or total, or a smaller `done`, begins a new measurement."""
        now = self._clock()
        key = (total, unit, what)
        anew = self._last is None or self._last[:2] != key[:2] or (self._samples and done < self._samples[-1][1])
        if anew:
            self._samples = []
        self._samples = thinned([*self._samples, (now, done)], now)
        finished = bool(total) and done >= total
        if self._write and (anew or finished or self._last != key or now - self._written >= WRITE_EVERY):
            self._written = now
            self._write({"done": done, "total": total, "unit": unit, "what": what, "samples": self._samples})
        self._last = key


def journal(
    say: Callable[[str], None], clock: Callable[[], float] = time.monotonic, every: float = JOURNAL_EVERY
) -> Progress:
    """Progress as lines of the journal, at most one in `every` seconds."""
    last = float("-inf")

    def write(state: Mapping[str, Any]) -> None:
        nonlocal last
        if clock() - last >= every:
            last = clock()
            say(line(reading(state, time.time())))

    return Progress(write)


def thinned(samples: Sequence[tuple[float, int]], now: float) -> list[tuple[float, int]]:
    """The samples for a rate: about one a second, within the window, and the last one before it."""
    kept: list[tuple[float, int]] = []
    for at, done in samples:
        if len(kept) > 1 and at - kept[-2][0] < 1.0:
            kept[-1] = (at, done)
        else:
            kept.append((at, done))
    older = [s for s in kept if s[0] < now - WINDOW]
    return kept[max(0, len(older) - 1) :]


def rate(samples: Sequence[Sequence[float]], now: float) -> float | None:
    """Units per second over the last 30 s before `now`; 0.0 for a stall, None when it is too early."""
    if not samples:
        return None
    begin = max(samples[0][0], now - WINDOW)
    if now - begin < 1.0:
        return None
    moved = samples[-1][1] - done_at(samples, begin)
    if moved <= 0:
        return 0.0 if now - begin >= WINDOW else None
    return moved / (now - begin)


def done_at(samples: Sequence[Sequence[float]], moment: float) -> float:
    """Units done at a time after the first sample, interpolated between its neighbours."""
    for (at, done), (after, more) in zip(samples, samples[1:]):
        if at <= moment < after:
            return done + (more - done) * (moment - at) / (after - at)
    return samples[0][1] if moment < samples[-1][0] else samples[-1][1]


def reading(record: Mapping[str, Any], now: float) -> Reading:
    """The record as it stands at `now` (seconds of the host's clock)."""
    return Reading(
        done=int(record.get("done", 0)),
        total=int(record.get("total", 0)),
        unit=str(record.get("unit", "")),
        what=str(record.get("what", "")),
        rate=rate(record.get("samples") or [], now),
    )


def amount(value: float, unit: str) -> str:
    """1234567890 B → "1.2 GB"; others as they are: "12 packages"."""
    if unit != "B":
        return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    for name, size in STEPS:
        if value >= size * 0.9995:
            return f"{value / size:.1f} {name}"
    return f"{value:.0f} B"


def duration(seconds: float) -> str:
    """54.2 → "54 s", 754 → "12 min 34 s", 7200 → "2 h 0 min"."""
    if not seconds < YEAR:
        return "more than a year"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def line(now: Reading, noun: str = "") -> str:
    """One line for a person: "12.3 GB/29.2 GB  310.0 MB/s  54 s left  ema.safetensors"."""
    tail = "" if now.unit == "B" else f" {now.unit or noun}".rstrip()
    count = amount(now.done, now.unit) + (f"/{amount(now.total, now.unit)}" if now.total else "") + tail
    parts = [count] if now.total or now.done else []
    whole = bool(now.total) and now.done >= now.total
    if now.rate and now.unit == "B" and not whole:
        parts.append(f"{amount(now.rate, now.unit)}/s")
    left = now.seconds_left() if now.unit in EVEN else None
    if left and not whole:
        parts.append(f"{duration(left)} left")
    elif now.rate == 0.0 and now.unit == "B" and not whole:
        parts.append("stalled: no data for 30 s")
    return shown.line("  ".join([*parts, now.what] if now.what else parts))
