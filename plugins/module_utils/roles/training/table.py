"""The trainings of a fleet as a user reads them: a line while they run, a verdict at their end, one table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...core import table
from ...core.progress import duration
from ...core.table import NONE

ENDED = ("finished", "failed", "stopped", "absent")
# (heading, value of a row); a row is what row() makes, and the same rows are the JSON.
COLUMNS = ("host", "run", "rank", "state", "step", "ce", "mse", "steps/s", "ETA", "weights", "checkpoint", "note")
RIGHT = ("rank", "step", "steps/s", "ETA")


def row(report: Mapping[str, Any], host: str, rank: int = 0) -> dict[str, Any]:
    """One host's line of the table, as data. `rank` is the host's place in its run; only 0 has steps to tell of."""
    return {
        "host": host,
        "run": report.get("run", ""),
        "rank": rank,
        "state": report.get("phase", "unknown"),
        "step": report.get("step"),
        "total_steps": report.get("total_steps"),
        "losses": report.get("losses") or {},
        "rate": report.get("rate"),
        "seconds_left": report.get("seconds_left") if report.get("phase") == "running" else None,
        "weights": report.get("weights") or "",
        "newest_whole": report.get("newest_whole"),
        "note": "; ".join(notes(report, rank)),
    }


def lost_row(host: str, run: str, rank: int | None, why: str) -> dict[str, Any]:
    """The line of a host that did not answer."""
    return {**row({"run": run, "phase": "no answer"}, host), "rank": rank, "note": why}


def verdict(report: Mapping[str, Any], rank: int = 0) -> list[str]:
    """Why a run did not end whole on this host; nothing when it did. For a run that is over."""
    phase = str(report.get("phase", "absent"))
    if phase != "finished":
        return [_end(report, phase)]
    if rank > 0:
        return []  # the first host of a run tells of steps, weights and saves
    problems = []
    if report.get("weights") != "loaded":
        problems.append(_weights(report))
    total, whole = report.get("total_steps"), report.get("newest_whole")
    if whole is None:
        problems.append("no whole checkpoint")
    elif total is not None and whole < total:
        problems.append(f"the last {total - whole} steps are not saved: the newest whole checkpoint is step {whole}")
    newest = report.get("newest_step")
    if newest is not None and whole is not None and newest > whole:
        problems.append(f"the newest checkpoint, step {newest}, is not whole")
    return problems


def _end(report: Mapping[str, Any], phase: str) -> str:
    failure = report.get("failure")
    if failure and not (phase == "stopped" and failure["kind"] == "TERMINATED"):
        return f"{failure['kind']}: {failure['line']}"
    return {"absent": "there is no unit", "stopped": "stopped before its end"}.get(phase, f"the unit is {phase}")


def _weights(report: Mapping[str, Any]) -> str:
    words = {
        "scratch": "trained from random weights",
        "partial": "weights only partly loaded",
        "loading": "weights still loading",
    }
    flaw = report.get("weights_flaw")
    shown = words.get(str(report.get("weights")), "the log does not say that weights were loaded")
    return f"{shown} ({flaw})" if flaw and report.get("weights") == "partial" else shown


def notes(report: Mapping[str, Any], rank: int = 0) -> list[str]:
    """What a person should know of a training now: its end's problems, or what looks wrong while it runs."""
    phase = str(report.get("phase", ""))
    found = verdict(report, rank) if phase in ENDED else []
    if phase == "restarting" and report.get("failure"):
        found.append(f"will be started again after {_end(report, phase)}")
    if phase not in ENDED and report.get("weights") in ("scratch", "partial"):
        found.append(_weights(report))
    supervisor = report.get("supervisor") or {}
    if phase == "stopping" or (phase == "running" and supervisor.get("stage") in ("pause", "prepare")):
        found += [str(supervisor["status"])] if supervisor.get("status") else []
    if report.get("foreign"):
        found.append(f"foreign names among the checkpoints: {', '.join(report['foreign'][:3])}")
    if report.get("older"):
        found.append("older than the settings on disk")
    return found


def progress_line(host: str, report: Mapping[str, Any]) -> str:
    """`atlas  step 35/60  ce 2.31  mse 0.41  3.2 steps/s  ETA 8 s`; what is not known yet is left out."""
    parts = [host]
    if report.get("step") is not None:
        parts.append(f"step {_step(report)}")
        losses = report.get("losses") or {}
        parts += [f"{name} {losses[name]['last']:.2f}" for name in sorted(losses)]
        if report.get("rate"):
            parts.append(f"{_rate(report['rate'])} steps/s")
        if report.get("phase") == "running" and report.get("seconds_left") is not None:
            parts.append(f"ETA {duration(report['seconds_left'])}")
    elif report.get("total_steps") is not None:
        parts.append(f"ready for {report['total_steps']} steps, none made yet")
    elif report.get("weights"):
        parts.append({"loading": "loading weights"}.get(str(report["weights"]), f"weights: {report['weights']}"))
    if report.get("phase") != "running" or len(parts) == 1:
        parts.append(str(report.get("phase")))
    return "  ".join([*parts, *notes(report)] if report.get("phase") == "restarting" else parts)


def waiting_line(host: str, report: Mapping[str, Any]) -> str:
    """What a start or a stop that takes time is at, in the supervisor's words: `atlas  stops after the save of …`."""
    supervisor = report.get("supervisor") or {}
    return f"{host}  {supervisor.get('status') or report.get('phase')}"


def failed_start(report: Mapping[str, Any]) -> str:
    """The error of a start that failed, with the trainer's own lines."""
    failure = report.get("failure") or {"kind": "UNKNOWN", "line": f"the unit is {report.get('phase')}", "lines": []}
    again = "; it is tried again" if report.get("phase") in ("running", "restarting") else ""
    lines = "".join(f"\n  {line}" for line in failure.get("lines") or ())
    return f"{report.get('unit')} failed to start ({failure['kind']}){again}; {failure['line']}{lines}"


def fleet_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The fleet, a line per host; the first line names the columns."""
    cells = [list(COLUMNS), *[_cells(one) for one in rows]]
    return "\n".join(table.lines(cells, right=[COLUMNS.index(name) for name in RIGHT]))


def _cells(one: Mapping[str, Any]) -> list[str]:
    losses = one["losses"]
    left = one["seconds_left"]
    whole = one["newest_whole"]
    return [
        str(one["host"]),
        str(one["run"]),
        NONE if one["rank"] is None else str(one["rank"]),
        str(one["state"]),
        _step(one),
        _loss(losses.get("ce")),
        _loss(losses.get("mse")),
        _rate(one["rate"]) if one["rate"] else NONE,
        duration(left) if left is not None else NONE,
        one["weights"] or NONE,
        f"{whole:07d}" if whole is not None else NONE,
        " ".join(str(one["note"]).split()),
    ]


def _step(one: Mapping[str, Any]) -> str:
    if one.get("step") is None:
        return NONE
    return f"{one['step']}/{one['total_steps'] if one.get('total_steps') is not None else '?'}"


def _loss(value: Mapping[str, float] | None) -> str:
    return f"{value['first']:.3f} → {value['last']:.3f}" if value else NONE


def _rate(rate: float) -> str:
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}"
