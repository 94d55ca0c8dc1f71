"""The plan's part about the hosts' ground: account, folders, packages, the agent. Runs on the controller."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...core.role_plan import RolePlan
from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from ...system import files
from .observe import Agent, Folder, Observation, fingerprints, normal

MARKER = re.compile(r"\s*python_version\s*(<|<=|>=|>|==)\s*[\"'](\d+)\.(\d+)[\"']\s*")
COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
}


def decide(seen: Observation, settings: Settings, topology: Topology) -> RolePlan:
    """Reads fleet_ca_bundle, a file of the controller, beside its arguments."""
    wanted, findings = wanted_certificates(str(settings.get("fleet_ca_bundle") or ""))
    findings += folder_findings(seen.root, settings) + package_findings(seen)
    reasons = []
    if not seen.account:
        reasons.append(f"there is no account {settings['fleet_user']}")
    elif not seen.group:
        reasons.append(f"there is no group {settings['fleet_group']}")
    if seen.root.kind == "absent":
        reasons.append(f"{settings['fleet_root']} does not exist")
    if seen.packages_missing:
        reasons.append(f"packages are missing: {', '.join(seen.packages_missing)}")
    if wanted - set(seen.trusted):
        reasons.append("the host does not trust the certificates of fleet_ca_bundle")
    flaw = agent_flaw(seen.agent, settings["fleet_agent_packages"])
    if flaw:
        reasons.append(flaw)
    python = seen.agent.python
    return RolePlan(tuple(reasons), tuple(findings), summary=f"agent environment with Python {python}")


def folder_findings(root: Folder, settings: Settings) -> list[Finding]:
    path, user = settings["fleet_root"], settings["fleet_user"]
    if root.kind == "other":
        return [finding("PATH_IS_A_FILE", variable="fleet_root", found=f"{path} is no folder", expected="a folder")]
    if root.kind == "folder" and not root.writable:
        return [
            finding(
                "FOLDER_NOT_OURS",
                variable="fleet_root",
                found=f"{path} belongs to {root.owner}",
                expected=f"a folder that {user} may write to",
            )
        ]
    return []


def package_findings(seen: Observation) -> list[Finding]:
    if seen.manager:
        return []
    return [
        finding(
            "PACKAGE_MANAGER_UNKNOWN",
            found="neither apt-get nor dnf",
            expected="Debian, Ubuntu, or a relative of RHEL 9",
        )
    ]


def agent_flaw(agent: Agent, pins: Sequence[str]) -> str:
    """Why the agent environment has to be made again; "" when it is as wanted."""
    if not agent.python:
        return "the agent environment is missing" if not agent.exists else "the agent environment does not run"
    flaws = []
    for name, version in parse_pins(pins, agent.python):
        have = agent.installed.get(normal(name), "")
        if not have or (version and have != version):
            flaws.append(f"{name} {have or 'absent'}" + (f" instead of {version}" if version else ""))
    return f"the agent environment has {', '.join(flaws)}" if flaws else ""


def parse_pins(pins: Iterable[str], python: str) -> list[tuple[str, str]]:
    """(name, version or "") of the requirements that hold for this Python, "3.11"."""
    have = tuple(int(part) for part in python.split("."))
    chosen = []
    for pin in pins:
        requirement, _, marker = pin.partition(";")
        match = MARKER.fullmatch(marker)
        if match and not COMPARE[match[1]](have, (int(match[2]), int(match[3]))):
            continue
        name, _, version = requirement.partition("==")
        chosen.append((name.strip(), version.strip()))
    return chosen


def wanted_certificates(bundle: str) -> tuple[set[str], list[Finding]]:
    if not bundle:
        return set(), []
    try:
        wanted = fingerprints(files.read(Path(bundle).expanduser()).decode(errors="replace"))
    except OSError as error:
        wanted, flaw = set(), f"{bundle}: {error.strerror}"
    else:
        flaw = f"{bundle}: no certificate in it"
    if wanted:
        return wanted, []
    bad = finding(
        "VARIABLE_INVALID", variable="fleet_ca_bundle", found=flaw, expected="a PEM file of the controller, full path"
    )
    return set(), [bad]
