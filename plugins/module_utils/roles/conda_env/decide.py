"""The plan's part about the environment. Runs on the controller, and in the role before it changes anything."""

from __future__ import annotations

import os

from ...core.role_plan import RolePlan
from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from .lock import conda_stale, conda_versions, same_version, shortened, stale
from .observe import EnvSpec, Observation, Record, wanted


def decide(seen: Observation, settings: Settings, topology: Topology) -> RolePlan:
    """Reasons to build, to prove or to refuse. Pure."""
    want = wanted(settings)
    refused = refusals(seen, want)
    if refused:
        return RolePlan(reasons=("a foreign file or folder is in the way",), findings=tuple(refused))
    old = stale_lock(want)
    if old:
        return RolePlan(reasons=("the lock does not match the list of packages",), findings=tuple(old))
    reasons = differences(seen, want)
    values = {"digest": want.digest, "prefix": want.prefix}
    if reasons:
        return RolePlan(reasons=tuple(reasons), values=values)
    record = seen.record or Record()
    versions = record.versions
    torch = f", torch {versions['torch']}" if "torch" in versions else ""
    summary = f"python {record.python}, {len(versions)} packages{torch}, {len(want.imports)} imports tested"
    return RolePlan(values=values, summary=summary)


def refusals(seen: Observation, want: EnvSpec) -> list[Finding]:
    """Findings about foreign files in our place."""
    found = []
    root, prefix = seen.root, seen.prefix
    if root.kind in ("file", "broken_link"):
        found.append(finding("PATH_IS_A_FILE", found=want.root, expected="a folder", variable="conda_env_root"))
    elif not (root.kind == "absent" or root.conda or root.empty or root.half or want.use_existing):
        found.append(
            finding(
                "CONDA_ROOT_FOREIGN",
                variable="conda_env_root",
                found=f"{want.root} holds files, but no conda",
                expected="an empty or absent folder, or one with a conda in it",
            )
        )
    if prefix.kind == "file":
        found.append(finding("PATH_IS_A_FILE", found=want.prefix, expected="a folder", variable="conda_env_prefix"))
    elif prefix.kind in ("folder", "link") and not seen.ours and not want.use_existing:
        found.append(
            finding(
                "CONDA_ENV_FOREIGN",
                variable="conda_env_name",
                found=f"{want.prefix}, which canvas-fleet did not make",
                expected="nothing, or an environment that canvas-fleet made",
            )
        )
    return found


def stale_lock(want: EnvSpec) -> list[Finding]:
    """Findings about a Python or packages whose wanted version is not in the lock."""
    if want.use_existing:
        return []
    solved, series = conda_versions(want.conda_lock).get("python", ""), ".".join(want.python.split(".")[:2])
    other = [solved] if solved and not (solved + ".").startswith(want.python + ".") else []
    other += [want.lock_python] if want.lock_python not in ("", series) else []
    if other:
        differs = f"the lock was made for Python {' and '.join(other)}", f"Python {want.python} (conda_env_python)"
        return [finding("CONDA_LOCK_STALE", variable="conda_env_lock", found=differs[0], expected=differs[1])]
    parts = {
        "conda_env_conda_packages": conda_stale(want.conda_lock, want.conda_packages),
        "conda_env_pip_packages": stale(want.pip_lock, want.pip_packages),
    }
    return [
        finding(
            "CONDA_LOCK_STALE",
            variable="conda_env_lock",
            found=f"the lock has {shortened(wrong)}",
            expected=f"the versions of {variable}",
        )
        for variable, wrong in parts.items()
        if wrong
    ]


def differences(seen: Observation, want: EnvSpec) -> list[str]:
    """Reasons; empty when the environment is as wanted, whole and tested."""
    prefix, record = seen.prefix, seen.record
    adopted = want.use_existing and not seen.ours and prefix.kind in ("folder", "link")
    if not adopted and prefix.kind in ("absent", "broken_link"):
        without = "" if seen.root.conda else f"no conda at {want.root}; "
        return [f"{without}environment {os.path.basename(want.prefix)} does not exist"]
    if not prefix.python_runs:
        return [f"no python in {want.prefix}"]
    if not record:
        return ["the imports were never tested"]
    found = [] if adopted else contents(seen, want)
    changed = [
        f"{name} {seen.installed.get(name, 'missing')} instead of {version} (changed by hand)"
        for name, version in record.versions.items()
        if seen.installed.get(name) != version and name not in want.pins
    ]
    unproved = [module for module in want.imports if module not in record.imports]
    if want.imports and record.script not in ("", want.script.digest):
        found.append("the imports were tested with other environment variables than the script has")
    if unproved:
        found.append("import not tested: " + shortened(unproved))
    return found + ([shortened(changed)] if changed else [])


def contents(seen: Observation, want: EnvSpec) -> list[str]:
    """Differences between the environment and the wanted packages."""
    found = []
    record = seen.record or Record()
    have_python = record.python
    if not (have_python + ".").startswith(want.python + "."):
        found.append(f"python {have_python} instead of {want.python}")
    have = seen.installed
    wrong = [
        f"{name} {have[name]} instead of {pin}" if name in have else f"{name} {pin} is missing"
        for name, pin in want.pins.items()
        if name not in have or not same_version(have[name], pin)
    ]
    if wrong:
        found.append(shortened(wrong))
    if not found and record.digest != want.digest:
        found.append("the list of packages changed")
    return found
