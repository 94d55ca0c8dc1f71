"""What a host answers, as the plan knows it. The controller reads it here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core import wire
from ..findings.finding import Finding, finding
from ..machine.environment import Environment
from ..machine.facts import Facts
from ..machine.fit.findings import TEXT_SHARE, Machine
from ..machine.host import Host
from ..roles.canvas_code import observe as canvas_code
from ..roles.conda_env import observe as conda_env
from ..roles.fleet_agent import observe as fleet_agent
from ..roles.nvidia import observe as nvidia
from ..roles.weights import observe as weights

KINDS: Mapping[str, type[Any]] = {
    "fleet_agent": fleet_agent.Observation,
    "nvidia": nvidia.Observation,
    "conda_env": conda_env.Observation,
    "canvas_code": canvas_code.Observation,
    "weights": weights.Observation,
}


@dataclass(frozen=True)
class Observation:
    """What one host answered."""

    facts: Facts
    environment: Environment
    roles: Mapping[str, Any]

    @property
    def machine(self) -> Machine:
        nvidia, weights = self.roles["nvidia"], self.roles["weights"]
        return Machine(self.facts, nvidia.gpus, weights.model, weights.bytes, weights.rate, *self._sample())

    def compared(self, name: str, asked: tuple[float, float] | None) -> Host:
        """What is compared with other hosts. `asked`: the controller's clock before and after the observation."""
        nvidia = self.roles["nvidia"]
        return Host(
            name=name,
            environment=self.environment,
            gpu_names=tuple(gpu.name for gpu in nvidia.gpus),
            driver=nvidia.gpus[0].driver_version if nvidia.state == "works" and nvidia.gpus else "",
            devices=nvidia.devices,
            torch_cuda=(self.roles["conda_env"].record or conda_env.Record()).torch_cuda,
            phase=self.roles["training"]["phase"],
            time=self.facts.time,
            asked=asked,
        )

    def _sample(self) -> tuple[int, float]:
        """Tokens of the longest sample (0: not known), and the share that is text."""
        longest = ((self.roles["dataset"].get("record") or {}).get("inspection") or {}).get("longest") or {}
        tokens = int(longest.get("tokens") or 0)
        return (tokens, 1 - int(longest.get("image_tokens") or 0) / tokens) if tokens else (0, TEXT_SHARE)


def understood(answer: Any) -> tuple[Observation | None, tuple[Finding, ...]]:
    """The observation; or None and the finding that refuses this host alone."""
    try:
        return _read(answer), ()
    except wire.MalformedError as error:
        return None, (finding("HOST_ANSWER_MALFORMED", found=f"{error.place}: {error.found}", expected=error.expected),)


def _read(answer: Any) -> Observation:
    parts = _part({"the answer": answer}, "the answer")
    roles = _part(parts, "roles")
    typed = {role: wire.from_dict(kind, roles.get(role), f"roles.{role}") for role, kind in KINDS.items()}
    return Observation(
        wire.from_dict(Facts, parts.get("facts"), "facts"),
        wire.from_dict(Environment, parts.get("environment"), "environment"),
        {**roles, **typed},
    )


def _part(parts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(parts.get(name), dict):
        raise wire.MalformedError(name, wire.shown(parts.get(name)), "mapping")
    return dict(parts[name])
