"""The room `training`: the unit that runs the trainer, what its log says, and which checkpoints are whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils import (
    checkpoint_findings,
    checkpoints,
    unit,
    unit_host,
    unit_text,
    unit_want,
)
from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.failures import Failure
from ansible_collections.canvas.fleet.plugins.module_utils.findings import Finding, finding
from ansible_collections.canvas.fleet.plugins.module_utils.room import RoomPlan, RunShape
from ansible_collections.canvas.fleet.plugins.module_utils.training_report import failure_told as _failure
from ansible_collections.canvas.fleet.plugins.module_utils.training_report import report, report_of, told
from ansible_collections.canvas.fleet.plugins.module_utils.unit import Have
from ansible_collections.canvas.fleet.plugins.module_utils.unit_want import Want

__all__ = ["Outcome", "converge", "decide", "died", "difference", "observe", "report", "report_of", "told", "want_of"]

REASONS = {
    "folders": "results, checkpoint or record folder to be made",
    "payload": "another version of the supervisor",
    "spec": "what the supervisor is told differs",
    "write": "the unit's text differs",
    "enable": "the unit would not come back after a reboot",
    "disable": "the unit would come back after a reboot",
    "stop": "the training runs",
    "unfinish": "the run is marked as finished",
    "remove": "the unit is there",
    "forget": "the unit's record is there",
}


# Want's field to the setting that gives it, where the name is not training_<field>.
NAMED = {"user": "fleet_user", "group": "fleet_group", "state_dir": "fleet_state_dir"}
# Settings of other rooms come to the role through defaults of its own, which are settings too.
FIELDS = (
    "unit", "run", "user", "group", "script", "working_dir", "results_dir", "checkpoint_dir", "state_dir", "inputs",
    "wandb_key_file", "restarts", "stop", "stop_seconds", "apply", "kept_dir", "peer_port", "peer_allow", "share",
    "save_every", "total_steps", "auto_resume", "weights_expected", "load_seconds", "first_step_seconds",
    "save_seconds", "step_seconds", "first_ce_warn", "first_ce_stop", "keep_last", "keep_every",
)  # fmt: skip


def want_of(settings: Mapping[str, Any], shape: RunShape | None = None) -> Want:
    """The unit that the settings ask for; `shape` is the run's, which only the plan knows."""
    given = {name: settings.get(NAMED.get(name, f"training_{name}")) for name in FIELDS}
    told = {name: value for name, value in given.items() if value is not None}
    told.update({name: tuple(map(str, told.get(name, ()))) for name in ("inputs", "peer_allow")})
    shared = shape.as_dict() if shape else {}
    return Want(**told, **unit_want.of_shape(shared, int(settings.get("training_num_shard") or 0)))


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"unit": Have, "log": TrainLog, "survey": Survey, "failure": Failure or None, "phase": …}, all as plain data."""
    want = want_of(settings)
    return told(unit_host.Systemd().read(want), want)


def decide(seen: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape) -> RoomPlan:
    """What the role would do, and what stands in the way of a start."""
    want, have, state = want_of(settings, shape), Have(**seen["unit"]), str(settings["training_state"])
    try:
        steps = unit.decide(have, want, state)
    except FleetError as error:
        bad = finding("VARIABLE_INVALID", variable=error.variable, found=error.found, expected=error.expected)
        return RoomPlan(reasons=(error.message,), findings=(bad,))
    reasons = [_reason(step, have, state) for step in steps if step != "reload" or len(steps) == 1]
    findings: list[Finding] = []
    if "start" in steps:
        survey, kept = (checkpoints.restore(seen.get(name) or {}) for name in ("survey", "kept"))
        findings += checkpoint_findings.start_findings(survey, kept, settings, shape)
    elif state == "started" and (found := runs_older(have, want)):
        findings.append(found)
    summary = "" if reasons else summary_of(seen)
    # What can be told without asking again; not of a training that is going to be another, or to be followed.
    told = not reasons and not settings.get("training_follow")
    values = {"report": report_of(seen, want)} if told else {}
    return RoomPlan(reasons=tuple(reasons), findings=tuple(findings), values=values, summary=summary)


def _reason(step: str, have: Have, state: str) -> str:
    if step == "start":
        asked = "a restart was asked for" if state == "restarted" else "a restart after the save was asked for"
        return asked if have.running else f"the training is {have.phase}"
    if step == "write" and have.text is None:
        return "no unit yet"
    if step == "reload":
        return "systemd does not know the unit's text on disk"
    return REASONS[step]


def runs_older(have: Have, want: Want) -> Finding | None:
    """The running training was started from something else than what lies on the disk, or is going to."""
    if not have.running:
        return None
    coming = {want.path: have.text != unit_text.render(want), want.spec_path: have.spec != want.spec()}
    changed = list(dict.fromkeys([*(path for path, other in coming.items() if other), *have.older()]))
    if not changed:
        return None
    return finding(
        "TRAINING_RUNS_OLDER",
        found=f"{want.unit} was started before the change of {', '.join(changed)}",
        expected="started from what is there now",
        variable="training_apply",
    )


def summary_of(seen: Mapping[str, Any]) -> str:
    """A few words: "running, step 35/60", "finished, step 60/60"."""
    log, phase = seen["log"], str(seen["phase"])
    if log["step"] is None:
        return phase
    return f"{phase}, step {log['step']}/{log['total_steps'] if log['total_steps'] is not None else '?'}"


@dataclass(frozen=True)
class Outcome:
    """What converge() did, or in check mode would do. `waiting`: start or stop, which goes on; "" when all is done."""

    steps: tuple[str, ...]
    before: Have
    after: Have
    warnings: tuple[Finding, ...] = field(default=())
    waiting: str = ""


def converge(host: unit_host.UnitHost, want: Want, state: str, check: bool, settle: float) -> Outcome:
    """Bring the unit to `state` and look again, waiting `settle` s for what takes time: a stop waits for a save, a
    start for its first step. What still goes on then is told as `waiting`: come again when it is over.

    Raises FleetError when a start failed, or when the host did not follow.
    """
    before = host.read(want)
    steps = tuple(unit.decide(before, want, state))
    if check:
        return Outcome(steps, before, before, _warnings(before, want, state))
    for number, step in enumerate(steps):
        host.do(step, want)
        if step == "stop":
            after = host.settled(want, settle)
            if after.phase == "stopping":
                return Outcome(steps[: number + 1], before, after, waiting="stop")
            host.stopped(want)
    if state == "stopped" and "stop" not in steps:
        host.stopped(want)
    after = host.settled(want, settle) if "start" in steps else host.read(want)
    if "start" in steps and after.phase not in ("running", "finished"):
        raise died(after, want)
    again = unit.decide(after, want, "started" if state == "restarted" else state)
    if again:
        raise FleetError(f"{want.unit} did not come to {state}", found=f"still to do: {', '.join(again)}")
    waiting = "start" if after.starting and state in ("started", "restarted") else ""
    return Outcome(steps, before, after, _warnings(after, want, state), waiting)


def _warnings(have: Have, want: Want, state: str) -> tuple[Finding, ...]:
    older = runs_older(have, want) if state in ("started", "present") else None
    return (older,) if older else ()


def died(have: Have, want: Want) -> FleetError:
    """The error of a training whose start failed, in the trainer's own words."""
    failure = _failure(have, want) or Failure("UNKNOWN", have.ended or have.result)
    lines = "".join(f"\n  {line}" for line in failure.lines)
    again = f"; systemd tries again, {want.restarts} times in a row" if have.running else ""
    return FleetError(
        f"{want.unit} failed to start ({failure.kind}){again}",
        found=failure.line,
        remedy=f"mend it and converge again; all of its words are in {want.errors}{lines}",
    )


def difference(done: Outcome, want: Want, state: str) -> list[dict[str, str]]:
    """Ansible's diff: the unit's text, and how it runs."""
    text = "" if state == "absent" else unit_text.render(want)
    was = _manner(done.before.running, done.before.enabled)
    is_running = {"started": not done.before.finished, "restarted": True}.get(state, False)
    running = done.before.running if state == "present" else is_running or (state == "started" and done.before.running)
    enabled = done.before.enabled if state == "present" else state in ("started", "restarted")
    texts = {"before": done.before.text or "", "after": text, "before_header": want.path, "after_header": want.path}
    manner = {"before": was, "after": _manner(running, enabled), "before_header": want.unit, "after_header": want.unit}
    return [one for one in (texts, manner) if one["before"] != one["after"]]


def _manner(running: bool, enabled: bool) -> str:
    return f"running: {str(running).lower()}\nafter a reboot: {'started' if enabled else 'not started'}\n"
