"""What is told of a training: its unit, its log, its checkpoints, how its supervisor sees it, and why it failed."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from typing import Any

from ...checkpoints import guard as checkpoint_guard
from ...checkpoints.seal import Place
from ...core.errors import FleetError
from ...core.printable import printable
from ...supervisor import record as supervisor_record
from ...system.reach import as_owner
from ...trainer import checkpoint as checkpoints
from ...trainer import log as train_log
from ...trainer.failures import Failure, failure_of
from . import have as unit_have
from .have import SETUP, Have
from .want import Want


def observed(have: Have, want: Want) -> dict[str, Any]:
    """The whole report of a unit whose state was just read: its log, its checkpoints, and why it failed if it did."""
    log = train_log.parse(train_log.read_part(want.log, _number(have, "log_bytes")))
    failure = unit_failure(have, want)
    return {
        "unit": unit_have.as_dict(have),
        "phase": have.phase,
        "log": {**log.as_dict(), **_supervised_log(have, want, log)},
        "tail": list(log.tail),
        **_surveyed(Place(want.checkpoint_dir, want.kept)),
        "failure": failure.as_dict() if failure else None,
        "supervisor": supervised(have, want),
    }


def _surveyed(place: Place) -> dict[str, Any]:
    """The checkpoints. Root is nobody on a network file system (root_squash), so there they are read as their owner."""
    found = checkpoint_guard.surveyed(place)
    denied = os.strerror(errno.EACCES)
    flaws = [flaw for name in ("survey", "kept") for one in found[name]["checkpoints"] for flaw in one["flaws"]]
    if os.geteuid() or (os.access(place.checkpoints, os.R_OK | os.X_OK) and not any(denied in flaw for flaw in flaws)):
        return found
    try:
        with as_owner(place.checkpoints):
            return checkpoint_guard.surveyed(place)
    except FleetError:  # there is no such folder
        return found


def supervised(have: Have, want: Want, now: float | None = None) -> dict[str, Any]:
    """How the supervisor of the last start sees it: {"stage", "status", "stopping", "seconds_old"}; {} without one."""
    found = _state(have, want)
    if not found:
        return {}
    moment = found.get("monotonic")
    age = (time.monotonic() if now is None else now) - moment if isinstance(moment, float) else 0.0
    words = {name: str(found.get(name) or "")[:500] for name in ("stage", "status")}
    return {**words, "stopping": bool(found.get("stop")), "seconds_old": max(0.0, round(age, 1))}


def _state(have: Have, want: Want) -> dict[str, Any]:
    """What the supervisor of the last start wrote; {} without one."""
    found = supervisor_record.read(f"{want.own}/state.json")
    start = have.invocation or have.started.get("invocation")
    return found if start and found.get("invocation") == start else {}


def _supervised_log(have: Have, want: Want, log: train_log.TrainLog) -> dict[str, Any]:
    """What the beginning of the log said and the supervisor heard, where the log was rotated since."""
    if log.weights:
        return {}
    found = _state(have, want)
    shown: dict[str, Any] = {"weights": found["weights"]} if isinstance(found.get("weights"), str) else {}
    return {
        **shown,
        **{name: found[name] for name in ("total_steps", "start_step") if isinstance(found.get(name), int)},
    }


def report(have: Have, want: Want) -> dict[str, Any]:
    """What the module returns of a training, flat: unit, run, phase, step, losses, checkpoints, failure, and so on."""
    return dict(printable(report_of(observed(have, want), want)))


def report_of(found: Mapping[str, Any], want: Want) -> dict[str, Any]:
    """The same from what observe() found."""
    have = Have(**found["unit"])
    survey = checkpoints.Survey.from_dict(found["survey"])
    shown = ("active", "sub", "enabled", "result", "restarts", "invocation")
    return {
        "unit": want.unit,
        "run": want.run,
        "phase": have.phase,
        "finished": have.finished,
        "unit_state": {name: getattr(have, name) for name in shown},
        **found["log"],
        "supervisor": found.get("supervisor") or {},
        "checkpoints": found["survey"]["checkpoints"],
        "foreign": found["survey"]["foreign"],
        "newest_step": survey.newest.step if survey.newest else None,
        "newest_whole": survey.newest_whole.step if survey.newest_whole else None,
        "failure": found["failure"],
        "older": have.older() if have.running else [],
        "tail": found["tail"],
    }


def _number(have: Have, name: str) -> int:
    text = have.started.get(name, "0")
    return int(text) if text.isdigit() else 0


def unit_failure(have: Have, want: Want) -> Failure | None:
    """Why the last start failed; None when it did not, or when the training has got past it."""
    if have.starting and have.restarts:
        return supervisor_record.failure_from(supervisor_record.read(f"{want.own}/failure.json"))
    if have.phase not in ("failed", "restarting", "stopped"):
        return None
    if have.phase == "stopped" and have.ended.startswith("success"):
        return None
    if have.result == "exit-code" and have.status in SETUP:
        return Failure("UNIT_SETUP", SETUP[have.status])
    # A start that got no further than systemd left no records: those that are there tell of an earlier start.
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
