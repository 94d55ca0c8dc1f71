"""The plan's part about the hosts' ground: account, folders, packages, the agent. Runs on the controller."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ...core.role_plan import RolePlan
from ...core.settings import Settings, named
from ...core.topology import Topology
from ...core.version import numbers
from ...findings.finding import Finding, finding
from ...system import files
from . import decide_readers
from .decide_readers import NOBODY, SYSTEM_UIDS
from .observe import Agent, Folder, Observation, fingerprints, normal

MARKER = re.compile(r"\s*python_version\s*(<|<=|>=|>|==)\s*[\"'](\d+)\.(\d+)[\"']\s*")
# Who is in one of these groups can become root, or read what only root may.
ROOT_LIKE = (
    *(
        "adm",
        "admin",
        "bin",
        "daemon",
        "disk",
        "docker",
        "google-sudoers",
        "incus",
        "incus-admin",
        "kmem",
        "kvm",
        "libvirt",
        "lxc",
        "lxd",
    ),
    *("microk8s", "podman", "root", "shadow", "staff", "sudo", "sys", "systemd-journal", "wheel"),
)
COMPARE = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
}


def decide(seen: Observation, settings: Settings, topology: Topology) -> RolePlan:
    """Also reads fleet_ca_bundle, a file of the controller."""
    wanted, findings = wanted_certificates(str(settings.get("fleet_ca_bundle") or ""))
    findings += account_findings(seen, settings) + folder_findings(seen.root, settings) + package_findings(seen)
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
    findings += decide_readers.findings(seen.readers, settings)
    reasons += decide_readers.reasons(seen.readers, settings)
    python = seen.agent.python
    return RolePlan(tuple(reasons), tuple(findings), summary=f"agent environment with Python {python}")


def account_findings(seen: Observation, settings: Settings) -> list[Finding]:
    """An account that a training may not have, and a folder of root's that is not root's alone."""
    user, found = settings["fleet_user"], []
    # fleet_agent makes an account of the system, too; it is known by its home.
    made_by_us = 0 < seen.uid < SYSTEM_UIDS and seen.home == f"{settings['fleet_root']}/home"
    if seen.account and not made_by_us and (seen.uid < SYSTEM_UIDS or seen.uid == NOBODY):
        given = f"{user} has uid {seen.uid} and the home {seen.home}"
        expected = f"a uid from {SYSTEM_UIDS} on, or no such account"
        found.append(finding("ACCOUNT_OF_SYSTEM", variable="fleet_user", found=given, expected=expected))
    if rooted := sorted(set(seen.groups) & set(ROOT_LIKE)):
        given = f"{user} is in {', '.join(rooted)}"
        found.append(finding("ACCOUNT_LIKE_ROOT", variable="fleet_user", found=given, expected="none of these groups"))
    for name in sorted(settings.keys() & seen.open_ways.keys()):
        place = seen.open_ways[name]
        given, expected = f"{name} ({named(settings, name)}): {place}", "folders that root alone may write to"
        found.append(finding("STATE_DIR_OPEN", variable=name, found=given, expected=expected))
    return found


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
    """Why the agent environment must be made again; "" when in sync."""
    if not agent.python:
        return "the agent environment is missing" if not agent.exists else "the agent environment does not run"
    flaws = []
    for name, version in parse_pins(pins, agent.python):
        have = agent.installed.get(normal(name), "")
        if not have or (version and have != version):
            flaws.append(f"{name} {have or 'absent'}" + (f" instead of {version}" if version else ""))
    return f"the agent environment has {', '.join(flaws)}" if flaws else ""


def parse_pins(pins: Iterable[str], python: str) -> list[tuple[str, str]]:
    """(name, version or "") of the requirements for this Python, such as "3.11"."""
    have = numbers(python)[:2]
    chosen = []
    for pin in pins:
        requirement, _mark, marker = pin.partition(";")
        match = MARKER.fullmatch(marker)
        if match and not COMPARE[match[1]](have, (int(match[2]), int(match[3]))):
            continue
        name, _mark, version = requirement.partition("==")
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
