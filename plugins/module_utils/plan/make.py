"""The plan: a pure function of what was observed on all hosts of all runs.

It is the only place that computes world size, ranks and shards, and the only judge of whether a run may start.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core import wire
from ..core.role_plan import ROLES, RolePlan
from ..core.settings import Settings
from ..core.topology import Topology
from ..findings.finding import Finding, few, finding, placed
from ..machine import environment_findings as host_findings
from ..machine.fit import findings as machine
from ..machine.fit.assess import Fit
from ..machine.fit.choose import Choice
from ..machine.fit.memory import BF16, MOMENTS
from ..machine.long_work import Work
from ..roles.training import adapter_findings
from . import choice as choices
from . import places
from .compare import disagreements, processes, same_address, same_machine, unlike
from .observation import HostSeen, Observation
from .skipped import Skipped, skipped, unseen
from .state import JUDGED, state

Decide = Callable[[Any, Settings, Topology], RolePlan]


@dataclass(frozen=True)
class HostPlan:
    name: str
    topology: Topology
    roles: Mapping[str, RolePlan]
    findings: tuple[Finding, ...]
    refusal: str  # the errors of its run, by code and host; "" when the run may go on
    fit: Fit | None = None  # what the run needs of this host; None where it was not judged
    skipped: tuple[Skipped, ...] = ()  # checks that could not be made
    choice: Choice | None = None  # what training_profile: auto stands for
    state: str = JUDGED
    works: tuple[Work, ...] = ()  # long work that runs there now

    @property
    def refused(self) -> bool:
        return bool(self.refusal)

    @property
    def changes(self) -> list[str]:
        return [role for role in ROLES if role in self.roles and not self.roles[role].in_sync]

    @property
    def unready(self) -> str:
        """Why the run cannot start here yet: the roles out of sync except training; "" when ready."""
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
            "state": self.state,
            "changes": self.changes,
            "findings": [found.as_dict() for found in self.findings],
            "refused": self.refused,
            "refusal": self.refusal,
            "unready": self.unready,
            "fit": self.fit.as_dict() if self.fit else None,
            "skipped": [one.as_dict() for one in self.skipped],
            "choice": self.choice.as_dict() if self.choice else None,
            "works": wire.to_dict(self.works),
        }


@dataclass(frozen=True)
class Plan:
    hosts: Mapping[str, HostPlan]  # in inventory order
    outside: tuple[str, ...] = ()  # runs of which --limit left no host: nothing is known of them

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
            "outside": list(self.outside),
        }


def topologies(members: Sequence[HostSeen]) -> dict[str, Topology]:
    """The place of each host in its run. Ranks follow the inventory; the first host is the master."""
    first = members[0]
    counted = next((host for host in members if host.gpus is not None), first)  # GPUs of a lost host: unknown
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
            checkpoint_bytes=checkpoint_limit(_number(first.settings.get("weights_parameters"))),
            new_secret=not alone and lacks_secret(members),
            own_shards=_number(first.settings.get("run_config_num_shard")),
            own_replicas=_number(first.settings.get("run_config_num_replicate")),
        )
        for rank, host in enumerate(members)
    }


def checkpoint_limit(parameters: int) -> int:
    """Bytes of a checkpoint of so many parameters at most: twice model, EMA and Adam's moments, and a GiB."""
    return 2 * (BF16 + BF16 + MOMENTS) * parameters + (1 << 30) if parameters else 0


def lacks_secret(members: Sequence[HostSeen]) -> bool:
    """True when the hosts share no secret, by fingerprints, or the run will be restarted."""
    held = {_key_id(host) for host in members}
    return len(held) > 1 or "" in held or any(host.settings.get("training_state") == "restarted" for host in members)


def _key_id(host: HostSeen) -> str:
    """Fingerprint of the secret that a host holds; "" when it holds none, or was not seen."""
    return host.observation.roles.training.unit.key_id if host.observation else ""


def _number(value: Any) -> int:
    """An int setting; 0 where the settings of a host could not be read (it is refused anyway)."""
    return value if isinstance(value, int) else 0


def make_plan(hosts: Sequence[HostSeen], decide: Mapping[str, Decide], limited: Container[str] = ()) -> Plan:
    """Plan all runs. `hosts` in inventory order, all members of each run, whether seen or not; a run of hosts that are
    `limited` alone (nobody asked for them) is not planned."""
    runs: dict[str, list[HostSeen]] = {}
    for host in hosts:
        runs.setdefault(host.run, []).append(host)
    plans: dict[str, HostPlan] = {}
    outside = tuple(run for run, members in runs.items() if all(host.name in limited for host in members))
    twice = same_machine(hosts)
    for run, members in runs.items():
        if run not in outside:
            plans.update(_plan_run(members, decide, twice))
    return Plan({host.name: plans[host.name] for host in hosts if host.name in plans}, outside)


def _plan_run(
    members: Sequence[HostSeen], decide: Mapping[str, Decide], twice: Sequence[Finding]
) -> dict[str, HostPlan]:
    """Plan one run. An unexpected answer of a host refuses its run; other runs go on."""
    choice = None
    try:
        members, choice, unclear = choices.settle(members, topologies(members))
        place = topologies(members)
        at_odds = [*unclear, *disagreements(members), *same_address(members), *unlike(members), *twice]
    except Exception as error:
        names = tuple(host.name for host in members)
        place = {name: Topology(members[0].run, names, rank, 1, 0, "", 0) for rank, name in enumerate(names)}
        at_odds = [replace(unforeseen("the run", error), host=name) for name in names]
    made = {host.name: replace(_plan_host(host, place[host.name], decide, at_odds), choice=choice) for host in members}
    findings = [found for host in made.values() for found in host.findings]
    refusal = ", ".join(f"{found.code} on {found.host}" for found in findings if found.refuses)
    return {name: replace(host, refusal=refusal) for name, host in made.items()}


def _plan_host(
    host: HostSeen, topology: Topology, decide: Mapping[str, Decide], at_odds: Sequence[Finding]
) -> HostPlan:
    roles = _roles(host, topology, decide)
    own, fit = [*host.findings, *(found for found in at_odds if found.host == host.name)], None
    passed = unseen([found.code for found in host.findings if found.refuses])
    if host.observation is not None and host.judged:
        own += host.observation.findings
        passed = unseen([found.code for found in host.observation.findings], "all that takes the whole host")
    if host.whole:
        try:
            fit = machine.fit_of(host.whole.machine, host.settings, topology)
            own += _machine_findings(host, host.whole, topology, fit, roles)
            passed = _skipped(host, host.whole, roles)
        except Exception as error:
            own.append(unforeseen("the machine", error))
    own += [found for role in roles.values() for found in role.findings]
    accept = host.settings.get("preflight_accepted_findings") or () if host.judged else ()
    findings = tuple(placed(few(own), host=host.name, run=host.run, accept=accept))
    works = host.observation.works if host.observation else ()
    return HostPlan(host.name, topology, roles, findings, "", fit, passed, state=state(host), works=works)


def _machine_findings(
    host: HostSeen, seen: Observation, topology: Topology, fit: Fit, roles: Mapping[str, RolePlan]
) -> list[Finding]:
    exchanged = str(roles["dataset"].values.get("exchanged", "")) if "dataset" in roles else ""
    compared = seen.compared(host.name, host.asked)
    return [
        *places.judge_real(seen.facts.spots, host.settings),
        *machine.check(seen.facts, fit, host.settings, topology),
        *host_findings.check(compared, host.settings, topology),
        *host_findings.in_use(compared.phase, exchanged, host.settings),
        *adapter_findings.judge(seen.roles.training.log, fit.run.model, host.settings),
    ]


def unforeseen(part: str, error: Exception) -> Finding:
    """The finding for an unexpected error of a rule."""
    found = f"{part}: {type(error).__name__}: {wire.shown(str(error))}"
    return finding("ANSWER_NOT_JUDGED", found=found, expected="an answer that the plan can judge")


def _skipped(host: HostSeen, seen: Observation, roles: Mapping[str, RolePlan]) -> tuple[Skipped, ...]:
    code = seen.roles.canvas_code.state
    return tuple(skipped(seen.compared(host.name, host.asked), code, host.settings, roles))


def _seen(found: Observation, role: str, before: Mapping[str, RolePlan]) -> Any:
    """What the role saw. The training's files are judged as the roles before it leave them in the same converge."""
    seen = getattr(found.roles, role)
    if role != "training":
        return seen
    coming = {path: digest for plan in before.values() for path, digest in plan.digests.items()}
    return replace(seen, unit=replace(seen.unit, digests={**seen.unit.digests, **coming}))


def _roles(host: HostSeen, topology: Topology, decide: Mapping[str, Decide]) -> dict[str, RolePlan]:
    if host.observation is None or not host.judged:
        return {}
    made = {}
    for role in (role for role in ROLES if role in decide):
        if role in host.observation.silent:
            made[role] = RolePlan(("it could not be observed",))
            continue
        try:
            made[role] = decide[role](_seen(host.observation, role, made), host.settings, topology)
        except Exception as error:
            made[role] = RolePlan(("no rule of the plan fits its answer",), (unforeseen(f"the role {role}", error),))
    return made
