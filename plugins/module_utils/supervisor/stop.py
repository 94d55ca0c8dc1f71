"""A stop that was asked for: whether it waits, for what, and how long. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.progress import duration
from .peer import PeerWatch
from .watch import Watch


@dataclass(frozen=True)
class Stop:
    """Asked for at `since`; waits until `until` at the latest. `at_once`: for nothing at all."""

    since: float
    until: float
    at_once: bool = False


@dataclass(frozen=True)
class StopDecision:
    """`end`: the trainer is to be ended now. `text` says why, or what is waited for."""

    end: bool
    text: str


def judge(stop: Stop, watch: Watch, now: float) -> StopDecision:
    """After the next save, unless nothing would be lost, or the save cannot come in time."""
    if stop.at_once:
        return StopDecision(True, "stopped at once, as asked")
    if watch.saved is not None and watch.saving is None and watch.saved_at > stop.since:
        return StopDecision(True, f"stopped after the save of step {watch.saved}")
    if not watch.unsaved(now) and watch.saving is None:
        return StopDecision(True, "stopped: no step is lost")
    left = stop.until - now
    if left <= 0:
        return StopDecision(True, f"stopped without a save: none came within {duration(stop.until - stop.since)}")
    if now > watch.deadline:
        return StopDecision(True, "stopped without a save: the training makes no progress")
    coming = watch.save_in()
    if coming is None:
        return StopDecision(False, f"stops after the next save, or in {duration(left)}")
    if coming > left:
        late = f"the next one is {duration(coming)} away, the limit is {duration(stop.until - stop.since)}"
        return StopDecision(True, f"stopped without a save: {late} (training_stop_seconds)")
    what = f"save of step {watch.saving}" if watch.saving is not None else f"next save, in about {duration(coming)}"
    return StopDecision(False, f"stops after the {what}")


def judge_peer(stop: Stop, watch: PeerWatch, first_host: str, now: float) -> StopDecision:
    """A node without step lines: its ranks end when the first host has saved, and most likely ends its own."""
    if stop.at_once:
        return StopDecision(True, "stopped at once, as asked")
    if not watch.ready and watch.saving is None:
        return StopDecision(True, "stopped: no step is lost")
    if watch.saved_at > stop.since:
        return StopDecision(True, f"stopped after the save of step {watch.saved} on {first_host}")
    if now > watch.deadline:
        return StopDecision(True, f"stopped: {first_host} does not answer")
    left = stop.until - now
    if left <= 0:
        return StopDecision(True, f"stopped: {first_host} did not end within {duration(stop.until - stop.since)}")
    return StopDecision(False, f"stops when {first_host} has saved and stops, or in {duration(left)}")
