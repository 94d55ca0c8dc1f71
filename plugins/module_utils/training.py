"""The room `training`: the unit that runs the trainer, what its log says, and which checkpoints are whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils import checkpoints, train_log, unit, unit_host, unit_text
from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.failures import Failure, failure_of
from ansible_collections.canvas.fleet.plugins.module_utils.findings import Finding, finding
from ansible_collections.canvas.fleet.plugins.module_utils.room import RoomPlan, RunShape
from ansible_collections.canvas.fleet.plugins.module_utils.unit import Have
from ansible_collections.canvas.fleet.plugins.module_utils.unit_text import Want

REASONS = {
    "folders": "results, checkpoint or record folder to be made",
    "write": "the unit's text differs",
    "enable": "the unit would not come back after a reboot",
    "disable": "the unit would come back after a reboot",
    "stop": "the training runs",
    "unfinish": "the run is marked as finished",
    "remove": "the unit is there",
    "forget": "the unit's record is there",
}


def want_of(settings: Mapping[str, Any]) -> Want:
    """The unit that the settings ask for."""
    key = settings.get("training_wandb_key_file") or ""
    return Want(
        unit=str(settings["training_unit"]),
        run=str(settings["training_run"]),
        user=str(settings["fleet_user"]),
        group=str(settings["fleet_group"]),
        script=str(settings["training_script"]),
        working_dir=str(settings["training_working_dir"]),
        results_dir=str(settings["training_results_dir"]),
        checkpoint_dir=str(settings["training_checkpoint_dir"]),
        state_dir=str(settings["fleet_state_dir"]),
        inputs=tuple(str(path) for path in settings.get("training_inputs") or ()),
        wandb_key_file=str(key),
        restarts=int(settings.get("training_restarts", Want.restarts)),
        stop_seconds=int(settings.get("training_stop_seconds", Want.stop_seconds)),
    )


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"unit": Have, "log": TrainLog, "survey": Survey, "failure": Failure or None, "phase": …}, all as plain data."""
    want = want_of(settings)
    return told(unit_host.Systemd().read(want), want)


def told(have: Have, want: Want) -> dict[str, Any]:
    """The whole report of a unit whose state was just read: its log, its checkpoints, and why it failed if it did."""
    log = train_log.parse(train_log.read_part(want.log, _number(have, "log_bytes")))
    failure = _failure(have, want)
    return {
        "unit": unit.as_dict(have),
        "phase": have.phase,
        "log": log.as_dict(),
        "tail": list(log.tail),
        "survey": checkpoints.survey(want.checkpoint_dir).as_dict(),
        "failure": failure.as_dict() if failure else None,
    }


def report(have: Have, want: Want) -> dict[str, Any]:
    """What the module returns of a training, flat: unit, run, phase, step, losses, checkpoints, failure, and so on."""
    return report_of(told(have, want), want)


def report_of(found: Mapping[str, Any], want: Want) -> dict[str, Any]:
    """The same from what observe() found."""
    have = Have(**found["unit"])
    survey = checkpoints.restore(found["survey"])
    shown = ("active", "sub", "enabled", "result", "restarts", "invocation")
    return {
        "unit": want.unit,
        "run": want.run,
        "phase": have.phase,
        "finished": have.finished,
        "unit_state": {name: getattr(have, name) for name in shown},
        **found["log"],
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


def _failure(have: Have, want: Want) -> Failure | None:
    if have.phase not in ("failed", "restarting", "stopped"):
        return None
    if have.phase == "stopped" and have.ended.startswith("success"):
        return None
    if have.result == "exit-code" and have.status in unit_host.SETUP:
        return Failure("UNIT_SETUP", unit_host.SETUP[have.status])
    # A start that got no further than systemd left no records: those that are there tell of an earlier start.
    known = not have.invocation or have.started.get("invocation") == have.invocation
    text = train_log.read_part(want.errors, _number(have, "errors_bytes")) if known else ""
    found = failure_of(text, have.ended.split()[0] if have.ended and known else have.result)
    if found or have.phase == "stopped":
        return found
    last = tuple(train_log.plain(text)[-8:])
    return Failure("UNKNOWN", last[-1] if last else f"{have.result}, exit status {have.status}", last)


def decide(seen: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape) -> RoomPlan:
    """What the role would do, and what stands in the way of a start."""
    want, have, state = want_of(settings), Have(**seen["unit"]), str(settings["training_state"])
    try:
        steps = unit.decide(have, want, state)
    except FleetError as error:
        bad = finding("VARIABLE_INVALID", variable=error.variable, found=error.found, expected=error.expected)
        return RoomPlan(reasons=(error.message,), findings=(bad,))
    reasons = [_reason(step, have, state) for step in steps if step != "reload" or len(steps) == 1]
    findings: list[Finding] = []
    if "start" in steps:
        findings += start_findings(checkpoints.restore(seen["survey"]), settings, shape)
    elif state == "started" and (found := runs_older(have, want)):
        findings.append(found)
    summary = "" if reasons else summary_of(seen)
    # What can be told without asking again; not of a training that is going to be another, or to be followed.
    told = not reasons and not settings.get("training_follow")
    values = {"report": report_of(seen, want)} if told else {}
    return RoomPlan(reasons=tuple(reasons), findings=tuple(findings), values=values, summary=summary)


def _reason(step: str, have: Have, state: str) -> str:
    if step == "start":
        return "a restart was asked for" if state == "restarted" else f"the training is {have.phase}"
    if step == "write" and have.text is None:
        return "no unit yet"
    if step == "reload":
        return "systemd does not know the unit's text on disk"
    return REASONS[step]


def runs_older(have: Have, want: Want) -> Finding | None:
    """The running training was started from something else than what lies on the disk, or is going to."""
    changed = list(have.older()) if have.running else []
    if have.running and have.text != unit_text.render(want) and want.path not in changed:
        changed.insert(0, want.path)
    if not changed:
        return None
    return finding(
        "TRAINING_RUNS_OLDER",
        found=f"{want.unit} was started before the change of {', '.join(changed)}",
        expected="started from what is there now",
        variable="training_state",
    )


def start_findings(found: checkpoints.Survey, settings: Mapping[str, Any], shape: RunShape) -> list[Finding]:
    """What would kill a start that resumes from the newest checkpoint."""
    if not settings.get("run_config_auto_resume", True):
        return []
    folder, findings = str(settings["training_checkpoint_dir"]), []
    if found.foreign:
        findings.append(
            finding(
                "CHECKPOINTS_FOREIGN_NAME",
                found=", ".join(f"{folder}/{name}" for name in found.foreign[:5]),
                expected="folders named by a step alone",
            )
        )
    newest, shards = found.newest, int(settings.get("run_config_num_shard") or shape.num_shard)
    if newest and not newest.whole:
        findings.append(_incomplete(newest, found.newest_whole, shape))
    elif newest and newest.shards != shards:
        findings.append(
            finding(
                "CHECKPOINT_SHARDS_DIFFER",
                found=f"{newest.path}: {newest.shards} shards",
                expected=f"{shards} shards",
                variable="run_config_processes",
            )
        )
    return findings


def _incomplete(newest: checkpoints.Checkpoint, whole: checkpoints.Checkpoint | None, shape: RunShape) -> Finding:
    remedy = ""
    if shape.node_rank:
        remedy = f"copy the newest whole checkpoint of {shape.hosts[0]} to this host: each node resumes from its own"
    elif whole is None:
        remedy = "move the folder out of the checkpoint folder; none before it is whole, so the run starts anew"
    return finding(
        "CHECKPOINT_INCOMPLETE",
        found=f"{newest.path}: {'; '.join(newest.flaws[:3])}",
        expected="both safetensors files, all optimizer files, scheduler.pt and data_status.pt, each complete",
        remedy=remedy,
    )


def summary_of(seen: Mapping[str, Any]) -> str:
    """A few words: "running, step 35/60", "finished, step 60/60"."""
    log, phase = seen["log"], str(seen["phase"])
    if log["step"] is None:
        return phase
    return f"{phase}, step {log['step']}/{log['total_steps'] if log['total_steps'] is not None else '?'}"


@dataclass(frozen=True)
class Outcome:
    """What converge() did, or in check mode would do."""

    steps: tuple[str, ...]
    before: Have
    after: Have
    warnings: tuple[Finding, ...] = field(default=())


def converge(host: unit_host.UnitHost, want: Want, state: str, check: bool, settle: float) -> Outcome:
    """Bring the unit to `state` and look again. FleetError when a start does not live through `settle` s."""
    before = host.read(want)
    steps = tuple(unit.decide(before, want, state))
    after = before
    if not check:
        for step in steps:
            host.do(step, want)
        after = host.settled(want, settle) if "start" in steps else host.read(want)
        if "start" in steps and after.phase not in ("running", "finished"):
            raise died(after, want)
        again = unit.decide(after, want, "started" if state == "restarted" else state)
        if again:
            raise FleetError(f"{want.unit} did not come to {state}", found=f"still to do: {', '.join(again)}")
    older = runs_older(after, want) if state in ("started", "present") else None
    return Outcome(steps, before, after, (older,) if older else ())


def died(have: Have, want: Want) -> FleetError:
    """The error of a training that ended right after its start, in the trainer's own words."""
    failure = _failure(have, want) or Failure("UNKNOWN", have.ended or have.result)
    lines = "".join(f"\n  {line}" for line in failure.lines)
    again = f"; systemd tries again, {want.restarts} times an hour" if have.phase == "restarting" else ""
    return FleetError(
        f"{want.unit} ended right after its start ({failure.kind}){again}",
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
