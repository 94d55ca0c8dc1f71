"""dnf for the role nvidia, the same way as apt. Run against a real dnf and rpms that stand in (molecule/nvidia_el)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...core.progress import Progress
from . import packages
from .attempt import attempt
from .packages import OWN

DNF = ("dnf", "-y", "--setopt=skip_if_unavailable=False", "--setopt=install_weak_deps=False")
LOCKS = "/etc/dnf/plugins/versionlock.list"
PLUGIN = "python3-dnf-plugin-versionlock"


def refresh(source: str, progress: Progress) -> None:
    """Update NVIDIA's repository by name if it is ours; a foreign one has another name, so update all."""
    progress(0, 0, "", "NVIDIA's repository")
    only = [f"--repo={OWN}"] if OWN in source else []
    attempt("NVIDIA's repository can't be used; nothing was installed", *DNF, *only, "makecache")


def installed() -> set[str]:
    return set(attempt("rpm cannot be asked", "rpm", "-qa", "--qf", "%{NAME}\\n"))


def new(names: Sequence[str], before: set[str]) -> list[str]:
    """Requested NVIDIA packages that were not installed; a module counts if a package of its driver is installed."""
    found = []
    for name in names:
        if name.startswith("@"):
            here = any(re.match(r"nvidia-driver|kmod-nvidia", one) for one in before)
        else:  # a version stands behind fabric manager's name
            here = (name.rsplit("-", 1)[0] if "fabric" in name else name) in before
        if not here and not name.startswith("kernel-"):
            found.append(name)
    return found


def brought(before: set[str], source: str) -> list[str]:
    """Packages that are new since then and came from a repository of that file; dnf takes the others along."""
    ours = set(re.findall(r"^\[(.+)\]", packages.read("/", source), re.MULTILINE))
    query = ("dnf", "-q", "-C", "repoquery", "--installed", "--qf", "%{name} %{from_repo}")
    pairs = [line.split() for line in attempt("dnf cannot be asked", *query) if len(line.split()) == 2]
    return sorted({name for name, repository in pairs if name not in before and repository in ours})


def install(names: Sequence[str], progress: Progress) -> None:
    """Fetch everything first. Another stream of the driver would conflict with ours."""
    progress(0, 0, "", "packages")
    if any(name.startswith("@nvidia-driver") for name in names):
        reset()
    what = "not all packages could be fetched; nothing was installed"
    attempt(what, *DNF, "install", "--downloadonly", *names, PLUGIN)
    attempt("the packages could not be installed", *DNF, "install", *names, PLUGIN)


def reset() -> None:
    """Reset the stream of the driver's module."""
    attempt("the driver's module cannot be reset", "dnf", "-y", "module", "reset", "nvidia-driver")


def locks() -> list[str]:
    lines = packages.read("/", LOCKS).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def lock(names: Sequence[str]) -> list[str]:
    """Lock the versions of the driver's packages; returns the new entries for unlock()."""
    before, drivers = set(locks()), [name for name in names if "nvidia" in name and not name.startswith("@")]
    if drivers:
        attempt("packages cannot be held", "dnf", "-y", "versionlock", "add", *drivers)
    return [entry for entry in locks() if entry not in before]


def unlock(entries: Sequence[str]) -> None:
    """Remove our entries by their text; the user's locks stay."""
    removed = [entry for entry in locks() if entry in entries]
    if removed:
        attempt("packages cannot be let go", "dnf", "-y", "versionlock", "delete", *removed)


def remove(names: Sequence[str], entries: Sequence[str]) -> None:
    unlock(entries)
    attempt("the packages could not be removed", "dnf", "-y", "remove", *names)
    reset()
