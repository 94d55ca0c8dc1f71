"""The role evaluation: what there is to evaluate on the first host of a run, and who needs its GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field

from ...core.settings import Settings
from ...evaluation import found, state
from ...evaluation.asked import spec_of
from ...evaluation.found import Found
from ...system.reach import account_named


@dataclass(frozen=True)
class Observation:
    """`busy`: units of trainings that live, and of evaluations of other runs, with systemd's word. `going`: the
    evaluation after this run's end is at work now."""

    found: Found = field(default_factory=Found)
    busy: Mapping[str, str] = field(default_factory=dict)
    going: bool = False


def observe(settings: Settings) -> Observation:
    """All is read as the account that evaluates, so a link of its leads to nothing of root's."""
    spec, alive = spec_of(settings), state.busy()
    own = f"{settings['training_unit']}{state.AT_END}"
    account = account_named(str(settings["fleet_user"]))
    with account.acting() if account else nullcontext():
        seen = found.look(spec)
    return Observation(seen, {name: active for name, active in alive.items() if name != own}, own in alive)
