"""Hosts compared with each other: what those of a run have to share, and names of one machine. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..findings.finding import Finding, finding
from ..machine import environment_findings as host_findings
from .observation import HostSeen

# Settings of a whole run, beside all of run_config_*: ranks that disagree on one of them hang or train other things.
RUN_SETTINGS = (
    "weights_repo",
    "weights_revision",
    "canvas_code_commit",
    "dataset_commit",
    "dataset_train_sha256",
    "training_profile",
    *(f"training_lora_{name}" for name in ("rank", "alpha", "dropout", "targets", "connectors")),
)
# … and those of run_config_* that may differ: where things lie on a host, and how it is reached.
HOST_SETTINGS = (
    "run_config_yaml",
    "run_config_script",
    "run_config_master_addr",
    "run_config_resume_from",
    "run_config_env",
    "run_config_wandb_api_key",
    "run_config_processes",  # compared as the number it comes to, since 0 means one per GPU
)


def processes(host: HostSeen) -> int:
    """Ranks on this host: as many as the user said, or one per GPU."""
    wanted = host.settings.get("run_config_processes") or 0
    if isinstance(wanted, int) and wanted > 0:
        return wanted
    return max(1, host.gpus or 0)


def disagreements(members: Sequence[HostSeen]) -> list[Finding]:
    """Settings that differ between the hosts of one run."""
    first, found = members[0], []
    names = [name for name in first.settings if name.startswith("run_config_") and name not in HOST_SETTINGS]
    for host in members[1:]:
        if not host.settings:
            continue
        theirs = {name: (first.settings.get(name), host.settings.get(name)) for name in (*names, *RUN_SETTINGS)}
        if host.gpus is not None and first.gpus is not None:
            theirs["run_config_processes"] = (processes(first), processes(host))
        for name, (wanted, given) in theirs.items():
            if wanted != given:
                found.append(
                    finding(
                        "RUN_DISAGREES",
                        host=host.name,
                        variable=name,
                        found=f"{name}: {given!r}",
                        expected=f"{wanted!r}, as {first.name} of the same run",
                    )
                )
    return found


def same_address(members: Sequence[HostSeen]) -> list[Finding]:
    """Hosts of one run with the same address."""
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


def same_machine(hosts: Sequence[HostSeen]) -> list[Finding]:
    """Names of the whole fleet that lead to one machine: by what it is, or by its address where it was not seen."""
    named: dict[str, HostSeen] = {}
    reached: dict[str, HostSeen] = {}
    found = []
    for host in hosts:
        identity = _identity(host)
        twin = named.setdefault(identity, host) if identity else host
        near = reached.setdefault(host.reached_at, host) if host.reached_at else host
        if twin is host and near is not host and not (identity and _identity(near)):
            twin = near  # two that were seen may have one address, behind different jump hosts
        if twin is not host:
            given = f"{twin.name} of run {twin.run} is the same machine ({host.reached_at or twin.name})"
            expected = "one name for one machine"
            found.append(
                finding("MACHINE_TWICE", host=host.name, variable="ansible_host", found=given, expected=expected)
            )
    return found


def _identity(host: HostSeen) -> str:
    return host.observation.facts.identity if host.observation else ""


def unlike(members: Sequence[HostSeen]) -> list[Finding]:
    """Findings about hosts of one run that differ: clocks, GPU models."""
    judged = [host for host in members if host.whole]
    seen = [host.whole.compared(host.name, host.asked) for host in judged if host.whole]
    return host_findings.between(seen, judged[0].settings) if judged else []
