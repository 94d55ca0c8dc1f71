"""A host's answer, as the plan uses it. The controller reads it only here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..core import wire
from ..core.settings import NO_SETTINGS, Settings
from ..findings.finding import Finding, finding
from ..machine.environment import Environment
from ..machine.facts import Facts
from ..machine.fit.choose import Choice
from ..machine.fit.findings import TEXT_SHARE, Machine
from ..machine.host import Host
from ..machine.long_work import Work
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
    """Observations by role, without silent ones."""

    fleet_agent: fleet_agent.Observation = field(default_factory=fleet_agent.Observation)
    nvidia: nvidia.Observation = field(default_factory=lambda: nvidia.Observation("absent", ""))
    conda_env: conda_env.Observation = field(default_factory=conda_env.Observation)
    canvas_code: canvas_code.Observation = field(default_factory=canvas_code.Observation)
    dataset: dataset.Observation = field(default_factory=dataset.Observation)
    weights: weights.Observation = field(default_factory=weights.Observation)
    run_config: run_config.Observation = field(default_factory=run_config.Observation)
    training: training.Observation = field(default_factory=training.Observation)


@dataclass(frozen=True)
class Observation:
    """One host's answer. `silent` parts have only a reason; the host's facts are judged if no part is silent."""

    facts: Facts = field(default_factory=lambda: Facts("", 0))
    environment: Environment = field(default_factory=Environment)
    roles: Roles = field(default_factory=Roles)
    silent: Mapping[str, str] = field(default_factory=dict)
    works: tuple[Work, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """Findings about parts without an answer."""
        expected = "an answer within the limits of docs/design.md"
        parts = self.silent.items()
        return [finding("HOST_PART_SILENT", found=f"{part}: {why}", expected=expected) for part, why in parts]

    @property
    def machine(self) -> Machine:
        nvidia, weights = self.roles.nvidia, self.roles.weights
        return Machine(self.facts, nvidia.gpus, weights.model, weights.bytes, weights.rate, *self._sample())

    def compared(self, name: str, asked: tuple[float, float] | None) -> Host:
        """Facts that are compared with other hosts. `asked`: the controller's clock before and after the
        observation."""
        nvidia, environment = self.roles.nvidia, self.roles.conda_env.record
        return Host(
            name=name,
            environment=self.environment,
            gpu_names=tuple(gpu.name for gpu in nvidia.gpus),
            driver=nvidia.gpus[0].driver_version if nvidia.works else "",
            devices=nvidia.devices,
            gpus=nvidia.gpus,
            facts=self.facts,
            proved=environment.imports if environment else (),
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


@dataclass(frozen=True)
class HostSeen:
    """One host as the play knows it: its settings, what was observed, and why it was not when it was not."""

    name: str
    run: str
    settings: Settings = field(default_factory=lambda: NO_SETTINGS)
    observation: Observation | None = None
    findings: tuple[Finding, ...] = ()
    asked: tuple[float, float] | None = None  # the controller's clock before and after the observation
    choice: Choice | None = None  # of an earlier plan of this play, by which its settings are
    reached_at: str = ""  # address and port of its SSH server
    own_rate: bool = False  # run_config_lr stands in the inventory: it is the user's, whatever its value

    @property
    def judged(self) -> bool:
        """True when enough is known of the host to plan it: it was observed, and its own variables are sound."""
        return self.observation is not None and not any(found.refuses for found in self.findings)

    @property
    def whole(self) -> Observation | None:
        """The observation, if every part answered."""
        return self.observation if self.judged and self.observation and not self.observation.silent else None

    @property
    def gpus(self) -> int | None:
        """None where that is not known."""
        seen = self.observation
        return len(seen.roles.nvidia.gpus) if seen and "nvidia" not in seen.silent else None


def understood(answer: Any) -> tuple[Observation | None, tuple[Finding, ...]]:
    """The observation; or None and the finding that refuses this host alone."""
    try:
        seen = wire.from_dict(Observation, answer)
        _none_lacks(seen, answer)
        return seen, ()
    except wire.MalformedError as error:
        found = f"{error.place or 'the answer'}: {error.found}"
        return None, (finding("HOST_ANSWER_MALFORMED", found=found, expected=error.expected),)


def _none_lacks(seen: Observation, answer: Mapping[str, Any]) -> None:
    """Raises MalformedError for a part that is not there, and not among the silent ones."""
    roles = answer.get("roles", {})
    lacking = [name for name in ("facts", "environment") if name not in answer]
    lacking += [f"roles.{one.name}" for one in fields(Roles) if one.name not in roles]
    for place in lacking:
        if place.rpartition(".")[2] not in seen.silent:
            raise wire.MalformedError(place, "nothing", "mapping")
