"""The role evaluation: what there is to evaluate on the first host of a run, and who needs its GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...core.errors import FleetError
from ...core.settings import Settings
from ...evaluation import found, state
from ...evaluation.asked import spec_of
from ...evaluation.found import Found
from ...system.reach import as_owner


@dataclass(frozen=True)
class Observation:
    """`busy`: units of trainings that live, and of evaluations of other runs, with systemd's word. `going`: the
    evaluation after this run's end is at work now."""

    found: Found = field(default_factory=Found)
    busy: Mapping[str, str] = field(default_factory=dict)
    going: bool = False


def observe(settings: Settings) -> Observation:
    """Folders of the account are read as that account."""
    spec, alive = spec_of(settings), state.busy()
    own = f"{settings['training_unit']}{state.AT_END}"
    try:
        with as_owner(spec.results):
            seen = found.look(spec)
    except FleetError:  # there is no such folder
        seen = found.look(spec)
    return Observation(seen, {name: active for name, active in alive.items() if name != own}, own in alive)
