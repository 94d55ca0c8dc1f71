"""Restore an older checkpoint for the next start. Newer ones go into quarantine; none is deleted."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import FleetError
from ..system import units
from ..trainer import checkpoint as checkpoints
from . import digests, examined, guard, seal
from .examined import Seen
from .guard import Decision
from .seal import Place


@dataclass(frozen=True)
class Restored:
    """The moves that were made, or would be in check mode. Listings have a line for each step in the folder."""

    moves: tuple[str, ...]
    before: str
    after: str


def restore(place: Place, step: int, check: bool) -> Restored:
    """Raises FleetError when the step is not whole or differs from its seal; the error lists whole ones."""
    seen = examined.look(place)
    decision = guard.back_to(seen, place, step)
    if not check and decision.moves:
        _verify(seen, place, step)
    moves = tuple(f"{move.do} {move.path}" for move in decision.moves)
    if check:
        return Restored(moves, listing(seen), expected(seen, decision))
    messages: list[str] = []
    if moves:
        guard.settle(place, decision, messages.append)
    return Restored(moves, listing(seen), listing(examined.look(place)))


def _verify(seen: Seen, place: Place, step: int) -> None:
    source = seen.whole.get(step) or seen.restorable[step]
    flaws = digests.flaws(source.path, seal.read_manifest(place, step))
    if flaws:
        raise FleetError(
            f"step {step} cannot be restored",
            variable="training_restore_step",
            found=f"{source.path}: {'; '.join(flaws[:3])}",
            expected="the sealed content",
        )


def listing(seen: Seen) -> str:
    return "".join(f"{one.step} {one.kind}\n" for one in seen.found.checkpoints)


def expected(seen: Seen, decision: Decision) -> str:
    """The listing after the moves."""
    target = decision.target
    quarantined = {move.path for move in decision.moves if move.do == "quarantine"}
    kinds = {one.step: one.kind for one in seen.found.checkpoints if one.path not in quarantined}
    if target is not None:
        kinds[target.step] = "whole"
    return "".join(f"{step} {kind}\n" for step, kind in sorted(kinds.items()))


def refuse_while_running(unit: str) -> None:
    """Raises FleetError while the unit runs, starts or stops, because the trainer would write beside the restored
    checkpoint."""
    state = units.state(f"{unit}.service")
    if state.runs:
        raise FleetError(
            "the training runs",
            variable="training_unit",
            found=f"{unit}: {state.active}",
            expected="a stopped training",
            remedy="stop it first: ansible-playbook playbooks/stop.yml",
        )


def resumes_from(place: Place) -> int | None:
    """The step from which a start would resume now; None without one."""
    newest = checkpoints.survey(place.checkpoints).newest
    return newest.step if newest and newest.whole else None
