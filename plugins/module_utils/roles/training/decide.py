"""The plan's part about the unit. Runs on the controller."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...checkpoints import findings as checkpoint_findings
from ...core import wire
from ...core.errors import FleetError
from ...core.role_plan import RolePlan
from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from . import refusals
from . import steps as unit
from . import unit_text as text
from .have import Have
from .observe import Observation
from .report import Report, report_of
from .results import result_of
from .table import ENDED
from .want import Want

REASONS = {
    "folders": "results, checkpoint or record folder to be made",
    "payload": "another version of the supervisor",
    "spec": "the supervisor's settings differ",
    "evaluation": "the settings of the evaluation after the run differ",
    "secret": "the hosts of the run get a new secret",
    "write": "the unit's text differs",
    "enable": "the unit would not come back after a reboot",
    "disable": "the unit would come back after a reboot",
    "stop": "the training runs",
    "merge": "the adapters of the last checkpoint are no whole model yet",
    "evaluate": "the last checkpoint is not evaluated yet",
    "unfinish": "the run is marked as finished",
    "remove": "the unit is there",
    "forget": "the unit's record is there",
}

# Findings about the next start that count under a training that runs or has finished, too.
OTHER = ("CHECKPOINT_OTHER_PROFILE", "CHECKPOINT_OTHER_ADAPTER")


def decide(seen: Observation, settings: Settings, topology: Topology, fill: text.Fill) -> RolePlan:
    """Changes of the role, and obstacles of a start."""
    want, have, state = Want(settings, topology), seen.unit, str(settings["training_state"])
    try:
        want = replace(want, texts=text.texts(want, fill))
        steps = unit.steps_to(have, want, state)
    except FleetError as error:
        bad = finding("VARIABLE_INVALID", variable=error.variable, found=error.found, expected=error.expected)
        return RolePlan(reasons=(error.message,), findings=(bad,))
    reasons = [_reason(step, have, state) for step in steps if step != "reload" or len(steps) == 1]
    findings = refusals.foreign(have, want)
    if "start" in steps:
        findings += checkpoint_findings.start_findings(seen.survey, seen.kept, settings, topology)
        findings += refusals.refusals(have, want)
    elif state == "started":
        noticed = (runs_older(have, want) or stays_finished(seen, settings), merge_failed(seen, want))
        findings += [one for one in noticed if one]
        findings += evaluation_findings(seen, want)
        findings += _next_start(seen, settings, topology)
    findings += pile(seen, want)
    summary = "" if reasons else summary_of(seen)
    return RolePlan(
        reasons=tuple(reasons),
        findings=tuple(findings),
        values={} if reasons else _values(report_of(seen, want), settings, topology.node_rank),
        summary=summary,
    )


def _next_start(seen: Observation, settings: Settings, topology: Topology) -> list[Finding]:
    """What would end a training at its next restart by itself, since its script and code are replaced under it."""
    found = checkpoint_findings.start_findings(seen.survey, seen.kept, settings, topology)
    return [one for one in found if one.code in OTHER]


def _values(report: Report, settings: Settings, rank: int) -> dict[str, Any]:
    """The report for the status table. One who follows asks again, unless the training has ended (`last`)."""
    shown = wire.to_dict(report)
    if settings.get("training_follow"):
        return {"last": shown} if report.phase in ENDED else {}
    result = result_of(report, settings, rank)
    return {"report": shown, "result": wire.to_dict(result) if result else None}


def _reason(step: str, have: Have, state: str) -> str:
    if step == "start":
        asked = "a restart was asked for" if state == "restarted" else "a restart after the save was asked for"
        return asked if have.running else f"the training is {have.phase}"
    if step == "write" and have.text is None:
        return "no unit yet"
    if step == "reload":
        return "systemd does not know the unit's text on disk"
    if step.startswith("disable "):
        return f"{step.partition(' ')[2]}, of another run, would come back after a reboot"
    return REASONS[step]


def runs_older(have: Have, want: Want) -> Finding | None:
    """The running training was started with other files than those on the disk or planned."""
    if not have.running:
        return None
    coming = {want.path: have.text != want.texts.unit, want.spec_path: have.spec != want.spec()}
    changed = list(dict.fromkeys([*(path for path, other in coming.items() if other), *have.older()]))
    if not changed:
        return None
    return finding(
        "TRAINING_RUNS_OLDER",
        found=f"{want.unit} was started before the change of {', '.join(changed)}",
        expected="started with the present settings",
        variable="training_apply",
    )


def stays_finished(seen: Observation, settings: Settings) -> Finding | None:
    """A finished run got more steps: a converge does not start it again unless asked."""
    have, total, wanted = seen.unit, seen.log.total_steps, settings["run_config_total_steps"]
    if not have.finished or have.running or not total or total >= wanted:
        return None
    return finding(
        "RUN_STAYS_FINISHED",
        found=f"the run ended at step {total}, run_config_total_steps is {wanted}",
        expected=f"{total} steps, or a start that is asked for",
        variable="run_config_total_steps",
    )


def merge_failed(seen: Observation, want: Want) -> Finding | None:
    """The unit that merges failed. It would read the same once more, so a converge does not start it again."""
    merge = report_of(seen, want).merge
    if not merge or seen.unit.merging != "failed":
        return None
    return finding(
        "MERGE_FAILED", found=merge, expected="a whole model of these adapters", variable="training_lora_merge"
    )


def evaluation_findings(seen: Observation, want: Want) -> list[Finding]:
    """Nothing is evaluated at the end, or it failed. It would fail once more, so a converge does not start it again."""
    if want.settings["evaluation_at_end"] == "none" or want.topology.node_rank:
        return []
    if not want.evaluates:
        return [
            finding(
                "EVALUATION_NOT_AT_END",
                found="dataset_test names no file",
                expected="a test file, or evaluation_at_end: none",
                variable="dataset_test",
            )
        ]
    words = report_of(seen, want).evaluating
    if not words or seen.unit.evaluating != "failed":
        return []
    expected = f"the {want.settings['evaluation_at_end']} of the newest checkpoint on the test rows"
    return [finding("EVALUATION_FAILED", found=words, expected=expected, variable="evaluation_at_end")]


def pile(seen: Observation, want: Want) -> list[Finding]:
    """Model folders are never removed by themselves, since nobody but their owner knows which are still needed."""
    if not seen.stock.much:
        return []
    place = f"{want.results_dir.rstrip('/')}/models/<step> and …/exports/<name>"
    found, expected = f"{seen.stock.words()} ({place})", "those that are still needed"
    return [finding("MODELS_PILE_UP", found=found, expected=expected, variable="training_results_dir")]


def summary_of(seen: Observation) -> str:
    """A few words: "running, step 35/60", "finished, step 60/60"."""
    log, phase = seen.log, seen.unit.phase
    if log.step is None:
        return phase
    return f"{phase}, step {log.step}/{log.total_steps if log.total_steps is not None else '?'}"
