"""The plan: a pure function of what was observed on all hosts of all runs.

It is the only place that computes world size, ranks and shards, and the only judge of whether a run may start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.role_plan import ROLES, RolePlan, Topology
from ..findings.finding import Finding, finding, placed
from ..machine import findings as host_findings
from ..machine.environment import Environment
from ..machine.fit import capacity as machine
from ..machine.fit.assess import Fit
from ..machine.host import Host
from .observation import Observation
from .skipped import Skipped, skipped, unseen

Decide = Callable[[Any, Mapping[str, Any], Topology], RolePlan]

# Settings of a whole run, beside all of run_config_*: ranks that disagree on one of them hang or train other things.
RUN_SETTINGS = (
    "weights_repo",
    "weights_revision",
    "canvas_code_commit",
    "dataset_commit",
    "dataset_train_sha256",
    "training_profile",
)
# … and those of run_config_* that may differ: where things lie on a host, and how it is reached.
HOST_SETTINGS = (
    "run_config_yaml",
    "run_config_script",
    "run_config_master_addr",
    "run_config_resume_from",
    "run_config_env",
    "run_config_wandb_api_key",
    "run_config_wandb_key_file",
    "run_config_processes",  # compared as the number it comes to, since 0 means one per GPU
)


@dataclass(frozen=True)
class HostSeen:
    """One host as the play knows it: its settings, what was observed, and why it was not when it was not."""

    name: str
    run: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    observation: Observation | None = None
    findings: tuple[Finding, ...] = ()
    asked: tuple[float, float] | None = None  # the controller's clock before and after the observation

    @property
    def judged(self) -> bool:
        """True when enough is known of the host to plan it: it was observed, and its own variables are sound."""
        return self.observation is not None and not any(found.refuses for found in self.findings)


@dataclass(frozen=True)
class HostPlan:
    name: str
    topology: Topology
    roles: Mapping[str, RolePlan]
    findings: tuple[Finding, ...]
    refusal: str  # the errors of its run, by code and host; "" when the run may go on
    fit: Fit | None = None  # what the run needs of this host; None where it was not judged
    skipped: tuple[Skipped, ...] = ()  # checks that could not be made

    @property
    def refused(self) -> bool:
        return bool(self.refusal)

    @property
    def changes(self) -> list[str]:
        return [role for role in ROLES if role in self.roles and not self.roles[role].in_sync]

    @property
    def unready(self) -> str:
        """Why the run can't be started here yet: roles out of sync, the training's own aside; "" when ready."""
        roles = [role for role in self.changes if role != "training"]
        return "; ".join(f"{role}: {', '.join(self.roles[role].reasons)}" for role in roles)

    def as_dict(self) -> dict[str, Any]:
        return {
            "topology": self.topology.as_dict(),
            "roles": {
                name: {
                    "in_sync": role.in_sync,
                    "reasons": list(role.reasons),
                    "values": dict(role.values),
                    "summary": role.summary,
                }
                for name, role in self.roles.items()
            },
            "changes": self.changes,
            "findings": [found.as_dict() for found in self.findings],
            "refused": self.refused,
            "refusal": self.refusal,
            "unready": self.unready,
            "fit": self.fit.as_dict() if self.fit else None,
            "skipped": [one.as_dict() for one in self.skipped],
        }


@dataclass(frozen=True)
class Plan:
    hosts: Mapping[str, HostPlan]  # in inventory order

    @property
    def findings(self) -> list[Finding]:
        return [found for host in self.hosts.values() for found in host.findings]

    @property
    def runs(self) -> dict[str, list[str]]:
        members: dict[str, list[str]] = {}
        for host in self.hosts.values():
            members.setdefault(host.topology.run, []).append(host.name)
        return members

    def as_dict(self) -> dict[str, Any]:
        return {
            "runs": self.runs,
            "hosts": {name: host.as_dict() for name, host in self.hosts.items()},
            "findings": [found.as_dict() for found in self.findings],
            "refused": sorted({host.topology.run for host in self.hosts.values() if host.refused}),
            "changes": {name: host.changes for name, host in self.hosts.items()},
        }


def processes(host: HostSeen) -> int:
    """Ranks on this host: as many as the user said, or one per GPU."""
    wanted = host.settings.get("run_config_processes") or 0
    if isinstance(wanted, int) and wanted > 0:
        return wanted
    return max(1, len(host.observation.roles["nvidia"].gpus) if host.observation else 0)


def topologies(members: Sequence[HostSeen]) -> dict[str, Topology]:
    """The place of each host in its run. Ranks follow the inventory; the first host is the master."""
    first = members[0]
    counted = next((host for host in members if host.observation is not None), first)  # GPUs of a lost host: unknown
    alone = len(members) == 1
    address = str(first.settings.get("run_config_master_addr") or first.settings.get("fleet_address") or first.name)
    return {
        host.name: Topology(
            run=host.run,
            hosts=tuple(member.name for member in members),
            node_rank=rank,
            nproc_per_node=processes(counted),
            num_workers=_number(first.settings.get("run_config_num_workers")),
            master_addr="localhost" if alone else address,
            master_port=_number(first.settings.get("run_config_master_port")),
            addresses=tuple(str(member.settings.get("fleet_address") or member.name) for member in members),
        )
        for rank, host in enumerate(members)
    }


def _number(value: Any) -> int:
    """An int setting; 0 where the settings of a host could not be read (it is refused anyway)."""
    return value if isinstance(value, int) else 0


def disagreements(members: Sequence[HostSeen]) -> list[Finding]:
    """What the hosts of one run were told differently."""
    first, found = members[0], []
    names = [name for name in first.settings if name.startswith("run_config_") and name not in HOST_SETTINGS]
    for host in members[1:]:
        if not host.settings:
            continue
        theirs = {name: (first.settings.get(name), host.settings.get(name)) for name in (*names, *RUN_SETTINGS)}
        if host.observation and first.observation:
            theirs["run_config_processes"] = (processes(first), processes(host))
        for name, (wanted, told) in theirs.items():
            if wanted != told:
                found.append(
                    finding(
                        "RUN_DISAGREES",
                        host=host.name,
                        variable=name,
                        found=f"{name}: {told!r}",
                        expected=f"{wanted!r}, as {first.name} of the same run",
                    )
                )
    return found


def same_address(members: Sequence[HostSeen]) -> list[Finding]:
    """Hosts of one run that cannot be told apart by the others."""
    first: dict[str, str] = {}
    found = []
    for host in members:
        address = str(host.settings.get("fleet_address") or host.name)
        if first.setdefault(address, host.name) != host.name:
            found.append(
                finding(
                    "ADDRESS_TWICE",
                    host=host.name,
                    variable="fleet_address",
                    found=f"{address}, as {first[address]} of the same run",
                    expected="an address of its own",
                )
            )
    return found


def unlike(members: Sequence[HostSeen]) -> list[Finding]:
    """What the machines of one run do not have in common: clocks, kinds of GPU."""
    judged = [host for host in members if host.judged]
    return host_findings.between([_compared(host) for host in judged], judged[0].settings) if judged else []


def _compared(host: HostSeen) -> Host:
    seen = host.observation
    if seen is None:
        return Host(host.name, Environment())
    nvidia = seen.roles["nvidia"]
    return Host(
        name=host.name,
        environment=seen.environment,
        gpu_names=tuple(gpu.name for gpu in nvidia.gpus),
        driver=nvidia.gpus[0].driver_version if nvidia.state == "works" and nvidia.gpus else "",
        devices=nvidia.devices,
        torch_cuda=str(((seen.roles["conda_env"].get("record") or {}).get("torch") or {}).get("cuda") or ""),
        phase=seen.roles["training"]["phase"],
        time=seen.facts.time,
        asked=host.asked,
    )


def make_plan(hosts: Sequence[HostSeen], decide: Mapping[str, Decide]) -> Plan:
    """Plan all runs. `hosts` in inventory order, all members of each run among them, whether seen or not."""
    runs: dict[str, list[HostSeen]] = {}
    for host in hosts:
        runs.setdefault(host.run, []).append(host)
    plans: dict[str, HostPlan] = {}
    for members in runs.values():
        plans.update(_plan_run(members, decide))
    return Plan({host.name: plans[host.name] for host in hosts})


def _plan_run(members: Sequence[HostSeen], decide: Mapping[str, Decide]) -> dict[str, HostPlan]:
    place = topologies(members)
    at_odds = disagreements(members) + same_address(members) + unlike(members)
    roles: dict[str, dict[str, RolePlan]] = {}
    findings: dict[str, list[Finding]] = {}
    fits: dict[str, Fit] = {}
    for host in members:
        roles[host.name] = _roles(host, place[host.name], decide)
        own = [*host.findings, *(found for found in at_odds if found.host == host.name)]
        if host.observation is not None and host.judged:
            seen, topology = host.observation.roles, place[host.name]
            fit = fits[host.name] = machine.fit_of(_machine(host.observation), host.settings, topology)
            own += machine.check(host.observation.facts, fit, host.settings, topology)
            own += host_findings.check(_compared(host), host.settings, topology)
            exchanged = roles[host.name]["dataset"].values.get("exchanged", "") if "dataset" in decide else ""
            own += host_findings.in_use(seen["training"]["phase"], exchanged, host.settings)
        for role in roles[host.name].values():
            own += role.findings
        accept = host.settings.get("preflight_accepted_findings") or () if host.judged else ()
        findings[host.name] = placed(own, host=host.name, run=host.run, accept=accept)
    refusal = ", ".join(f"{found.code} on {found.host}" for own in findings.values() for found in own if found.refuses)
    return {
        host.name: HostPlan(
            host.name,
            place[host.name],
            roles[host.name],
            tuple(findings[host.name]),
            refusal,
            fits.get(host.name),
            _skipped(host, roles[host.name]),
        )
        for host in members
    }


def _skipped(host: HostSeen, roles: Mapping[str, RolePlan]) -> tuple[Skipped, ...]:
    if host.observation is None or not host.judged:
        return unseen([found.code for found in host.findings if found.refuses])
    code = str(host.observation.roles["canvas_code"].get("state"))
    return tuple(skipped(_compared(host), code, host.settings, roles))


def sample(dataset: Mapping[str, Any]) -> tuple[int, float]:
    """Tokens of the longest sample as the role dataset counted them (0: not known), and the share that is text."""
    longest = ((dataset.get("record") or {}).get("inspection") or {}).get("longest") or {}
    tokens = int(longest.get("tokens") or 0)
    return (tokens, 1 - int(longest.get("image_tokens") or 0) / tokens) if tokens else (0, machine.TEXT_SHARE)


def _machine(seen: Observation) -> machine.Machine:
    weights = seen.roles["weights"]
    tokens, share = sample(seen.roles["dataset"])
    return machine.Machine(
        seen.facts, seen.roles["nvidia"].gpus, weights.model, weights.bytes, weights.rate, tokens, share
    )


def _roles(host: HostSeen, topology: Topology, decide: Mapping[str, Decide]) -> dict[str, RolePlan]:
    if host.observation is None or not host.judged:
        return {}
    seen = host.observation.roles
    return {role: decide[role](seen[role], host.settings, topology) for role in ROLES if role in decide}
