"""What a host answers, as the plan knows it. The controller reads it here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core import wire
from ..findings.finding import Finding, finding
from ..machine.environment import Environment
from ..machine.facts import Facts
from ..roles.fleet_agent import observe as fleet_agent
from ..roles.nvidia import observe as nvidia
from ..roles.weights import observe as weights

KINDS: Mapping[str, type[Any]] = {
    "fleet_agent": fleet_agent.Observation,
    "nvidia": nvidia.Observation,
    "weights": weights.Observation,
}


@dataclass(frozen=True)
class Observation:
    """What one host answered."""

    facts: Facts
    environment: Environment
    roles: Mapping[str, Any]


def understood(answer: Any) -> tuple[Observation | None, tuple[Finding, ...]]:
    """The observation; or None and the finding that refuses this host alone."""
    try:
        return _read(answer), ()
    except wire.MalformedError as error:
        return None, (finding("HOST_ANSWER_MALFORMED", found=f"{error.place}: {error.found}", expected=error.expected),)


def _read(answer: Any) -> Observation:
    told = _part({"the answer": answer}, "the answer")
    roles = _part(told, "roles")
    typed = {role: wire.from_dict(kind, roles.get(role), f"roles.{role}") for role, kind in KINDS.items()}
    return Observation(
        wire.from_dict(Facts, told.get("facts"), "facts"),
        wire.from_dict(Environment, told.get("environment"), "environment"),
        {**roles, **typed},
    )


def _part(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(told.get(name), dict):
        raise wire.MalformedError(name, wire.shown(told.get(name)), "mapping")
    return dict(told[name])
