"""What a host answers, as the plan knows it. The controller reads it here, and nowhere else."""

from __future__ import annotations

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
from ..roles.dataset import observe as dataset
from ..roles.dataset.inspection import Longest
from ..roles.fleet_agent import observe as fleet_agent
from ..roles.nvidia import observe as nvidia
from ..roles.run_config import observe as run_config
from ..roles.training import observe as training
from ..roles.weights import observe as weights


@dataclass(frozen=True)
class Roles:
    """What each role saw."""

    fleet_agent: fleet_agent.Observation
    nvidia: nvidia.Observation
    conda_env: conda_env.Observation
    canvas_code: canvas_code.Observation
    dataset: dataset.Observation
    weights: weights.Observation
    run_config: run_config.Observation
    training: training.Observation


@dataclass(frozen=True)
class Observation:
    """What one host answered."""

    facts: Facts
    environment: Environment
    roles: Roles

    @property
    def machine(self) -> Machine:
        nvidia, weights = self.roles.nvidia, self.roles.weights
        return Machine(self.facts, nvidia.gpus, weights.model, weights.bytes, weights.rate, *self._sample())

    def compared(self, name: str, asked: tuple[float, float] | None) -> Host:
        """What is compared with other hosts. `asked`: the controller's clock before and after the observation."""
        nvidia, environment = self.roles.nvidia, self.roles.conda_env.record
        return Host(
            name=name,
            environment=self.environment,
            gpu_names=tuple(gpu.name for gpu in nvidia.gpus),
            driver=nvidia.gpus[0].driver_version if nvidia.state == "works" and nvidia.gpus else "",
            devices=nvidia.devices,
            torch_cuda=environment.torch_cuda if environment else "",
            phase=self.roles.training.unit.phase,
            time=self.facts.time,
            asked=asked,
        )

    def _sample(self) -> tuple[int, float]:
        """Tokens of the longest sample (0: not known), and the share that is text."""
        inspection = self.roles.dataset.known.inspection
        longest = inspection.longest if inspection else Longest()
        return (longest.tokens, 1 - longest.image_tokens / longest.tokens) if longest.tokens > 0 else (0, TEXT_SHARE)


def understood(answer: Any) -> tuple[Observation | None, tuple[Finding, ...]]:
    """The observation; or None and the finding that refuses this host alone."""
    try:
        return wire.from_dict(Observation, answer), ()
    except wire.MalformedError as error:
        found = f"{error.place or 'the answer'}: {error.found}"
        return None, (finding("HOST_ANSWER_MALFORMED", found=found, expected=error.expected),)
