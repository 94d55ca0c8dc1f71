"""What a model card says that only the host knows: the chosen weights, the losses, the merge. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from ...checkpoints import export_choice, models
from ...core import wire
from ...core.settings import Settings
from ...system import files
from ...trainer.losses import Losses
from ...trainer.losses import Row as LossRow
from .evaluated import Evaluated, evaluated
from .work import export_spec

Kind = Literal["ema", "model", "merged"]
TABLE = 64 << 20  # bytes of losses.csv


@dataclass(frozen=True)
class Loss:
    """One loss at its first step line, and at the last one up to the exported step."""

    name: str
    first_step: int
    first: wire.Measured
    last_step: int
    last: wire.Measured


@dataclass(frozen=True)
class Seen:
    """The chosen weights. `sha256`: as their seal has it, "" without one."""

    step: int
    kind: Kind
    size: int
    sha256: str = ""
    losses: tuple[Loss, ...] = ()
    merged: models.Made | None = None
    evaluations: tuple[Evaluated, ...] = ()


def observe(settings: Settings) -> Seen:
    """Raises FleetError for what cannot be exported."""
    spec = export_spec(settings)
    choice = export_choice.choose(spec)
    merged = models.made_in(models.folder_of(spec.results, choice.step)) if choice.kind == "merged" else None
    losses = losses_of(files.text(f"{spec.results}/losses.csv", TABLE, follow=False), choice.step)
    place = str(settings.get("evaluation_dir") or f"{spec.results}/evaluation")
    evaluations = evaluated(place, choice.step, choice.kind)
    return Seen(choice.step, cast("Kind", choice.kind), choice.size, choice.sha256, losses, merged, evaluations)


def losses_of(text: str, step: int) -> tuple[Loss, ...]:
    """Of the table of a run's losses."""
    table = Losses()
    table.read(text)
    rows = [row for row in table.rows if row.step <= step]
    found = []
    for name in table.names:
        having = [row for row in rows if name in row.losses]
        if having:
            found.append(_loss(name, having[0], having[-1]))
    return tuple(found)


def _loss(name: str, first: LossRow, last: LossRow) -> Loss:
    return Loss(name, first.step, float(first.losses[name]), last.step, float(last.losses[name]))
