"""The report of a training: unit, log, checkpoints, the supervisor's state, and the failure."""

from __future__ import annotations

from dataclasses import dataclass

from ...evaluation import last
from ...system.units import ACTIVE
from ...trainer.checkpoint import Checkpoint
from ...trainer.failures import Failure
from ...trainer.log import Summary
from .observe import Observation, Supervised
from .want import Want


@dataclass(frozen=True)
class UnitState:
    """The unit's state in systemd."""

    active: str = "inactive"
    sub: str = "dead"
    enabled: bool = False
    result: str = "success"
    restarts: int = 0
    invocation: str = ""


@dataclass(frozen=True)
class Report(Summary):
    """The result of canvas.fleet.training_unit."""

    unit: str = ""
    run: str = ""
    phase: str = "absent"
    finished: bool = False
    unit_state: UnitState = UnitState()
    supervisor: Supervised | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    foreign: tuple[str, ...] = ()
    newest_step: int | None = None
    newest_whole: int | None = None
    failure: Failure | None = None
    older: tuple[str, ...] = ()
    merge: str = ""  # of adapters, while it goes on or when it failed
    evaluating: str = ""  # while the evaluation after the run goes on or when it failed
    evaluated: str = ""  # the figures of the last evaluation
    tail: tuple[str, ...] = ()
    stock: str = ""  # merged models and exports, where they are many


def report_of(seen: Observation, want: Want) -> Report:
    have, survey = seen.unit, seen.survey
    return Report(
        **vars(seen.log),
        unit=want.unit,
        run=want.run,
        phase=have.phase,
        finished=have.finished,
        unit_state=UnitState(have.active, have.sub, have.enabled, have.result, have.restarts, have.invocation),
        supervisor=seen.supervisor,
        checkpoints=survey.checkpoints,
        foreign=survey.foreign,
        newest_step=survey.newest.step if survey.newest else None,
        newest_whole=survey.newest_whole.step if survey.newest_whole else None,
        failure=seen.failure,
        older=tuple(have.older()) if have.running else (),
        tail=seen.tail,
        evaluating=_evaluating(seen) if want.evaluates and have.finished and not have.running else "",
        evaluated=last.line(seen.evaluated) if seen.evaluated else "",
        stock=seen.stock.words() if seen.stock.much else "",
        merge=_merge(seen) if want.merges and have.finished and not have.running else "",
    )


def _evaluating(seen: Observation) -> str:
    have, state = seen.unit, seen.evaluation
    if have.evaluating in ACTIVE:
        part = f" ({100 * state.done // state.total} %)" if state and state.total > 0 else ""
        return f"evaluates its last checkpoint{part}"
    if have.unevaluated is None or have.evaluating != "failed":
        return ""
    return f"step {have.unevaluated} is not evaluated{f': {state.error[:200]}' if state and state.error else ''}"


def _merge(seen: Observation) -> str:
    have, state = seen.unit, seen.merge
    if have.merging in ACTIVE:
        part = f" ({100 * state.done // state.total} %)" if state and state.total > 0 else ""
        return f"merges the adapters of its last checkpoint{part}"
    if have.unmerged is None:
        return ""
    return f"step {have.unmerged} is not merged{f': {state.error[:200]}' if state and state.error else ''}"
