"""The role `training`: the unit that runs the trainer, what its log says, its checkpoints, why it failed."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...checkpoints import examined, models
from ...checkpoints.seal import Place
from ...checkpoints.stock import Stock, stock
from ...core import wire
from ...core.errors import FleetError
from ...core.settings import Settings
from ...evaluation import last
from ...evaluation import state as evaluation
from ...supervisor import record as supervisor_record
from ...system.reach import as_owner
from ...trainer import log as train_log
from ...trainer.checkpoint import Survey
from ...trainer.failures import Failure, failure_of
from .have import SETUP, Have
from .read import read
from .want import Want


@dataclass(frozen=True)
class Supervised:
    """The supervisor's state of the last start."""

    stage: str = ""
    status: str = ""
    stopping: bool = False
    seconds_old: float = 0


@dataclass(frozen=True)
class Observation:
    """`kept`: the checkpoints that hard links hold; `tail`: the last lines of the log; `merge`: how far the merge of
    adapters is, or how the last one failed; `evaluation`: the same of an evaluation; `evaluated`: the last figures;
    `stock`: merged models and exports."""

    unit: Have = field(default_factory=Have)
    log: train_log.Summary = field(default_factory=train_log.Summary)
    tail: tuple[str, ...] = ()
    survey: Survey = field(default_factory=Survey)
    kept: Survey = field(default_factory=Survey)
    failure: Failure | None = None
    supervisor: Supervised | None = None
    merge: models.State | None = None
    evaluation: evaluation.State | None = None
    evaluated: last.Last | None = None
    stock: Stock = field(default_factory=Stock)


@dataclass(frozen=True)
class State:
    """The trusted part of state.json, which the training's account writes."""

    invocation: str
    stage: str | None = None
    status: str | None = None
    stop: Mapping[str, wire.Measured | None] | None = None
    monotonic: float | None = None
    weights: str | None = None
    total_steps: int | None = None
    start_step: int | None = None


def observe(settings: Settings) -> Observation:
    want = Want(settings)
    return observed(read(want), want)


def observed(have: Have, want: Want) -> Observation:
    """The same for a unit that was just read."""
    log = train_log.parse(train_log.read_part(want.log, _number(have, "log_bytes")))
    state = _state(have, want)
    seen = _seen(Place(want.checkpoint_dir, want.kept))
    return Observation(
        unit=have,
        log=_heard(log.summary(), state),
        tail=log.tail,
        survey=seen.found,
        kept=Survey(seen.kept),
        failure=unit_failure(have, want),
        supervisor=_supervised(state) if state else None,
        evaluation=evaluation.state_of(want.evaluation_dir) if want.evaluates else None,
        evaluated=last.last(want.evaluation_dir) if not want.topology.node_rank else None,
        merge=models.state_of(want.results_dir) if want.merges else None,
        stock=stock(want.results_dir),
    )


def _seen(place: Place) -> examined.Seen:
    """The checkpoints, read as their owner, because root is nobody on a network file system (root_squash)."""
    seen = examined.look(place)
    denied = os.strerror(errno.EACCES)
    flaws = [flaw for one in (*seen.found.checkpoints, *seen.kept) for flaw in one.flaws]
    if os.geteuid() or (os.access(place.checkpoints, os.R_OK | os.X_OK) and not any(denied in flaw for flaw in flaws)):
        return seen
    try:
        with as_owner(place.checkpoints):
            return examined.look(place)
    except FleetError:  # there is no such folder
        return seen


def _state(have: Have, want: Want) -> State | None:
    """The record of the last start's supervisor; None without one."""
    found = wire.from_record(State, supervisor_record.read(f"{want.own}/state.json"))
    start = have.invocation or have.started.get("invocation")
    return found if found and start and found.invocation == start else None


def _supervised(state: State) -> Supervised:
    age = 0.0 if state.monotonic is None else time.monotonic() - state.monotonic
    stage, status = ((text or "")[:500] for text in (state.stage, state.status))
    return Supervised(stage, status, bool(state.stop), max(0.0, round(age, 1)))


def _heard(log: train_log.Summary, state: State | None) -> train_log.Summary:
    """Adds what the supervisor read from the start of the log, if the log was rotated since."""
    if log.weights or state is None:
        return log
    names = ("weights", "total_steps", "start_step")
    return replace(log, **{name: heard for name in names if (heard := getattr(state, name)) is not None})


def _number(have: Have, name: str) -> int:
    text = have.started.get(name, "0")
    return int(text) if text.isdigit() else 0


def unit_failure(have: Have, want: Want) -> Failure | None:
    """Why the last start failed; None if it did not, or if the training went on since."""
    if have.starting and have.restarts:
        return supervisor_record.failure_from(supervisor_record.read(f"{want.own}/failure.json"))
    if have.phase not in ("failed", "restarting", "stopped"):
        return None
    if have.phase == "stopped" and have.ended.startswith("success"):
        return None
    if have.result == "exit-code" and have.status in SETUP:
        return Failure("UNIT_SETUP", SETUP[have.status])
    # A start that failed in systemd left no records: present ones are of an earlier start.
    known = not have.invocation or have.started.get("invocation") == have.invocation
    judged = supervisor_record.read(f"{want.own}/failure.json") if known else {}
    if judged and judged.get("invocation") == have.started.get("invocation"):
        return supervisor_record.failure_from(judged)
    if known and have.ended.startswith(("watchdog", "timeout")):
        return Failure("HANG_SUPERVISOR", f"the supervisor itself gave systemd no sign of life ({have.ended})")
    text = train_log.read_part(want.errors) if known else ""
    found = failure_of(text, have.ended.split()[0] if have.ended and known else have.result)
    if found or have.phase == "stopped":
        return found
    last = tuple(train_log.plain(text)[-8:])
    return Failure("UNKNOWN", last[-1] if last else f"{have.result}, exit status {have.status}", last)
