"""Brings the unit to the wanted state and reports the steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.errors import FleetError, raise_for
from ...findings.finding import Finding
from ...trainer.failures import Failure
from . import refusals, unit_host
from . import steps as unit
from .decide import runs_older
from .have import Have
from .observe import unit_failure
from .want import Want


@dataclass(frozen=True)
class Outcome:
    """Steps of converge(), also in check mode. `waiting`: start or stop while it goes on, else ""."""

    steps: tuple[str, ...]
    before: Have
    after: Have
    warnings: tuple[Finding, ...] = field(default=())
    waiting: str = ""


def converge(host: unit_host.UnitHost, want: Want, state: str, check: bool, settle: float) -> Outcome:
    """Bring the unit to `state` and observe again, for up to `settle` s: a stop waits for a save, a start for its first
    step. `waiting` names what still goes on then; call again when it is over.

    Raises FleetError when a start is refused or failed, or when the host did not follow.
    """
    before = host.read(want)
    raise_for(refusals.foreign(before, want))
    steps = tuple(unit.steps_to(before, want, state))
    if "start" in steps:
        raise_for(refusals.refusals(before, want))
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
    wanted = "started" if state == "restarted" else state
    again = [step for step in unit.steps_to(after, want, wanted) if step not in unit.AFTER]
    if again:
        raise FleetError(f"{want.unit} did not come to {state}", found=f"still to do: {', '.join(again)}")
    waiting = "start" if after.starting and state in ("started", "restarted") else ""
    return Outcome(steps, before, after, _warnings(after, want, state), waiting)


def _warnings(have: Have, want: Want, state: str) -> tuple[Finding, ...]:
    older = runs_older(have, want) if state in ("started", "present") else None
    return (older,) if older else ()


def died(have: Have, want: Want) -> FleetError:
    """The error of a failed start, with the trainer's lines."""
    failure = unit_failure(have, want) or Failure("UNKNOWN", have.ended or have.result)
    lines = "".join(f"\n  {line}" for line in failure.lines)
    again = f"; systemd tries again, {want.settings['training_restarts']} times in a row" if have.running else ""
    return FleetError(
        f"{want.unit} failed to start ({failure.kind}){again}",
        found=failure.line,
        remedy=f"correct the cause and converge again; the full text is in {want.errors}{lines}",
    )


def difference(done: Outcome, want: Want, state: str) -> list[dict[str, str]]:
    """Ansible's diff: the unit's text, and how it runs."""
    text = "" if state == "absent" else want.texts.unit
    was = _manner(done.before.running, done.before.enabled)
    is_running = {"started": not done.before.finished, "restarted": True}.get(state, False)
    running = done.before.running if state == "present" else is_running or (state == "started" and done.before.running)
    enabled = done.before.enabled if state == "present" else state in ("started", "restarted")
    texts = {"before": done.before.text or "", "after": text, **_heads(want.path)}
    manner = {"before": was, "after": _manner(running, enabled), **_heads(want.unit)}
    removed = [step.partition(" ")[2] for step in done.steps if step.startswith("disable ")]
    others = [{"before": _manner(False, True), "after": _manner(False, False), **_heads(name)} for name in removed]
    return [one for one in (texts, manner, *others) if one["before"] != one["after"]]


def _heads(name: str) -> dict[str, str]:
    return {"before_header": name, "after_header": name}


def _manner(running: bool, enabled: bool) -> str:
    return f"running: {str(running).lower()}\nafter a reboot: {'started' if enabled else 'not started'}\n"
