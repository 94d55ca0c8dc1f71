"""Text about trainings: a line while they run, problems at their end, the fleet table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...core import folded, shown, table
from ...core.progress import duration
from ...core.table import NONE
from ...trainer.failures import Failure
from ...trainer.log import Loss
from .report import Report

ENDED = ("finished", "failed", "stopped", "absent")
COLUMNS = ("host", "run", "rank", "state", "step", "ce", "mse", "steps/s", "ETA", "weights", "checkpoint", "note")
RIGHT = ("rank", "step", "steps/s", "ETA")
ALWAYS = ("host", "run", "rank", "state")
FOLD = COLUMNS.index("steps/s")


@dataclass(frozen=True)
class Row:
    """One host's line of the table; the same rows are the JSON. `rank`: of a host that did not answer none is known."""

    host: str
    run: str
    rank: int | None
    state: str
    step: int | None = None
    total_steps: int | None = None
    losses: Mapping[str, Loss] = field(default_factory=dict)
    rate: float | None = None
    seconds_left: float | None = None
    weights: str = ""
    newest_whole: int | None = None
    note: str = ""
    evaluation: str = ""  # figures of the last one


def row(report: Report, host: str, rank: int = 0) -> Row:
    """`rank` is the host's place in its run; only rank 0 reports steps."""
    return Row(
        host=host,
        run=report.run,
        rank=rank,
        state=report.phase,
        step=report.step,
        total_steps=report.total_steps,
        losses=report.losses,
        rate=report.rate,
        seconds_left=report.seconds_left if report.phase == "running" else None,
        weights=report.weights,
        newest_whole=report.newest_whole,
        note="; ".join(notes(report, rank)),
        evaluation=report.evaluated,
    )


def lost_row(host: str, run: str, why: str, state: str = "no answer") -> Row:
    """The line of a host without a report."""
    return Row(host, run, None, state, note=why)


def verdict(report: Report, rank: int = 0) -> list[str]:
    """Why a run did not end whole on this host; nothing when it did. For a run that is over."""
    if report.phase != "finished":
        return [_end(report)]
    if rank > 0:
        return []  # only the first host of a run reports steps, weights and saves
    problems = []
    if report.weights != "loaded":
        problems.append(_weights(report))
    total, whole, newest = report.total_steps, report.newest_whole, report.newest_step
    if whole is None:
        problems.append("no whole checkpoint")
    elif total is not None and whole < total:
        problems.append(f"the last {total - whole} steps are not saved: the newest whole checkpoint is step {whole}")
    if newest is not None and whole is not None and newest > whole:
        problems.append(f"the newest checkpoint, step {newest}, is not whole")
    return problems


def _end(report: Report) -> str:
    phase, failure = report.phase, report.failure
    if failure and not (phase == "stopped" and failure.kind == "TERMINATED"):
        return f"{failure.kind}: {failure.line}"
    return {"absent": "there is no unit", "stopped": "stopped before its end"}.get(phase, f"the unit is {phase}")


def _weights(report: Report) -> str:
    words = {
        "scratch": "trained from random weights",
        "partial": "weights only partly loaded",
        "loading": "weights still loading",
    }
    shown = words.get(report.weights, "the log does not say that weights were loaded")
    return f"{shown} ({report.weights_flaw})" if report.weights_flaw and report.weights == "partial" else shown


def notes(report: Report, rank: int = 0) -> list[str]:
    """The note of a training: problems at its end, or while it runs."""
    phase, supervisor = report.phase, report.supervisor
    found = verdict(report, rank) if phase in ENDED else []
    if phase == "restarting" and report.failure:
        found.append(f"will be started again after {_end(report)}")
    if phase not in ENDED and report.weights in ("scratch", "partial"):
        found.append(_weights(report))
    if supervisor and (phase == "stopping" or (phase == "running" and supervisor.stage in ("pause", "prepare"))):
        found += [supervisor.status] if supervisor.status else []
    if report.merge:
        found.append(report.merge)
    if report.evaluating:
        found.append(report.evaluating)
    if report.stock:
        found.append(report.stock)
    if report.foreign:
        found.append(f"foreign names among the checkpoints: {', '.join(report.foreign[:3])}")
    if report.older:
        found.append("older than the settings on disk")
    return found


def progress_line(host: str, report: Report) -> str:
    """`atlas  step 35/60  ce 2.31  mse 0.41  3.2 steps/s  ETA 8 s`; what is not known yet is left out."""
    parts = [host]
    if report.step is not None:
        parts.append(f"step {_step(report)}")
        parts += [f"{name} {report.losses[name].last:.2f}" for name in sorted(report.losses)]
        if report.rate:
            parts.append(f"{_rate(report.rate)} steps/s")
        if report.phase == "running" and report.seconds_left is not None:
            parts.append(f"ETA {duration(report.seconds_left)}")
    elif report.total_steps is not None:
        parts.append(f"ready for {report.total_steps} steps, none made yet")
    elif report.weights:
        parts.append({"loading": "loading weights"}.get(report.weights, f"weights: {report.weights}"))
    if report.phase != "running" or len(parts) == 1:
        parts.append(report.phase)
    return shown.line("  ".join([*parts, *notes(report)] if report.phase == "restarting" else parts))


def waiting_line(host: str, report: Report) -> str:
    """Progress of a start or stop in the supervisor's words: `atlas stops after the save of …`."""
    return shown.line(f"{host}  {(report.supervisor and report.supervisor.status) or report.phase}")


def failed_start(report: Report) -> str:
    """The error of a start that failed, with the trainer's own lines."""
    report = shown.each(report)
    failure = report.failure or Failure("UNKNOWN", f"the unit is {report.phase}")
    again = "; it is tried again" if report.phase in ("running", "restarting") else ""
    lines = "".join(f"\n  {line}" for line in failure.lines)
    return f"{report.unit} failed to start ({failure.kind}){again}; {failure.line}{lines}"


def fleet_table(rows: Sequence[Row], width: int = 0) -> str:
    """The fleet, a line per host; the first line names the columns. In a page of some `width` hosts of a run that are
    alike share a line, and columns without a value are left out."""
    cells = [list(COLUMNS), *(_alike(rows) if width else map(_cells, rows))]
    chosen = [
        column
        for column, name in enumerate(COLUMNS)
        if not width or name in ALWAYS or any(row[column] not in ("", NONE) for row in cells[1:])
    ]
    kept = [[row[column] for column in chosen] for row in cells]
    right = [place for place, column in enumerate(chosen) if COLUMNS[column] in RIGHT]
    fold = next((place for place, column in enumerate(chosen) if column >= FOLD), 0)
    return "\n".join(table.lines(kept, right=right, width=width, fold=fold))


def _alike(rows: Sequence[Row]) -> list[list[str]]:
    """The cells of hosts that differ in name and rank alone, as one row."""
    together: dict[str, list[Row]] = {}
    for one in rows:
        together.setdefault(repr(replace(one, host="", rank=one.rank and 1)), []).append(one)
    return [_together(group) for group in together.values()]


def _together(group: Sequence[Row]) -> list[str]:
    ranks = folded.hosts(str(one.rank) for one in group if one.rank is not None).strip("[]")
    return [folded.hosts(one.host for one in group), group[0].run, ranks or NONE, *_cells(group[0])[3:]]


def _cells(one: Row) -> list[str]:
    return [
        one.host,
        one.run,
        NONE if one.rank is None else str(one.rank),
        one.state,
        _step(one),
        _loss(one.losses.get("ce")),
        _loss(one.losses.get("mse")),
        _rate(one.rate) if one.rate else NONE,
        duration(one.seconds_left) if one.seconds_left is not None else NONE,
        one.weights or NONE,
        f"{one.newest_whole:07d}" if one.newest_whole is not None else NONE,
        " ".join(one.note.split()),
    ]


def _step(one: Row | Report) -> str:
    if one.step is None:
        return NONE
    return f"{one.step}/{one.total_steps if one.total_steps is not None else '?'}"


def _loss(value: Loss | None) -> str:
    return f"{value.first:.3f} → {value.last:.3f}" if value else NONE


def _rate(rate: float) -> str:
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}"
