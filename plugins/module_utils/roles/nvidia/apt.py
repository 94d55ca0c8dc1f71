"""apt for the role nvidia: strict about NVIDIA's source; fetches all packages before it unpacks one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from ...core.errors import FleetError
from ...core.progress import Progress, log
from ...core.version import numbers
from ...system import folders
from ...system.packages import APT, DPKG_LOCKED, LISTS_LOCKED, STATUS, tell, when_unlocked
from . import packages
from .attempt import attempt

INSTALL = (*APT, "--no-install-recommends", "--allow-change-held-packages", "--allow-downgrades")
KEEP = (*STATUS, "-o", "Dpkg::Options::=--force-confold")
METAS = ("nvidia-open", "cuda-drivers")


def refresh(source: str, progress: Progress, sleep: Callable[[float], None] = time.sleep) -> None:
    """Update NVIDIA's source (a file), where any error counts; then the others, where an old list is enough."""
    folders.make("/var/lib/apt/lists/partial")  # without it apt waits for a stale lock
    configure(sleep)
    progress(0, 0, "", "NVIDIA's repository")
    only = ["-o", f"Dir::Etc::sourcelist={source}", "-o", "Dir::Etc::sourceparts=-"]
    only += ["-o", "APT::Get::List-Cleanup=0", "--error-on=any"]
    update("NVIDIA's repository can't be used; nothing was installed", only, sleep)
    progress(0, 0, "", "the distribution's repositories")
    try:
        update("the distribution's repositories can't all be read", (), sleep)
    except FleetError as error:
        log(error)  # what is missing is named by the installation


def configure(sleep: Callable[[float], None] = time.sleep) -> None:
    """dpkg does not wait for its lock, unlike apt, and runs first."""
    what = "a half-installed package cannot be repaired"
    when_unlocked(lambda: attempt(what, "dpkg", "--configure", "-a"), DPKG_LOCKED, sleep)


def update(what: str, options: Sequence[str], sleep: Callable[[float], None]) -> None:
    """apt-get update; DPkg::Lock::Timeout does not cover the lock of the lists, so that one is waited for here."""
    when_unlocked(lambda: attempt(what, *APT, *options, "-o", "Acquire::Retries=2", "update"), LISTS_LOCKED, sleep)


def candidate(name: str) -> str:
    """The version that apt would install; "" for none."""
    for line in attempt("apt-cache failed", "apt-cache", "policy", name):
        if line.strip().startswith("Candidate:"):
            version = line.split(":", 1)[1].strip()
            return "" if version == "(none)" else version
    return ""


def served(name: str) -> list[str]:
    """Versions that the repositories have of a package, newest first."""
    shown = attempt("apt-cache failed", "apt-cache", "madison", name)
    return [words[1].strip() for line in shown if len(words := line.split("|")) > 2]


def exact(names: Sequence[str], driver: str, branch: str) -> list[str]:
    """Package names, with fabric manager in the driver's exact version. `driver`: the running version, "" for the new
    one.

    Raises FleetError where the driver would come from another branch: apt takes the newest one that it finds.
    """
    metas = [name for name in names if name in METAS]
    version = packages.upstream(candidate(metas[0])) if metas else driver
    if metas and version and version.split(".")[0] != branch:
        refuse_branch(metas[0], branch)
    return [fabric(name, version) if name.startswith("nvidia-fabricmanager") else name for name in names]


def refuse_branch(name: str, branch: str) -> None:
    branches = sorted({numbers(packages.upstream(version))[:1] for version in served(name)} - {()})
    raise FleetError(
        "the repository does not have the driver in this branch; nothing was installed",
        variable="nvidia_driver_branch",
        found=f"{name} of branch {', '.join(str(one) for (one,) in branches)}",
        expected=f"{name} of branch {branch}",
        remedy="choose a branch of the repository that supports the GPUs, or a repository that has this branch "
        "(nvidia_repository_url)",
    )


def fabric(name: str, version: str) -> str:
    """name=version of the fabric manager, for apt."""
    have = served(name)
    fits = [one for one in have if packages.upstream(one) == version]
    if not fits:
        raise FleetError(
            "fabric manager needs the driver's exact version, which the repository lacks",
            variable="nvidia_driver_branch",
            found=f"{name} {', '.join(have) or 'none'}",
            expected=f"{name} {version}",
            remedy="choose a branch that has both, or an up-to-date mirror",
        )
    return f"{name}={fits[0]}"


def simulated(names: Sequence[str]) -> dict[str, list[str]]:
    """Packages that would be new on the host: {"packages": NVIDIA's, "others": the distribution's}.

    Raises FleetError for what cannot be installed.
    """
    lines = attempt("the packages cannot be installed; nothing was", *INSTALL, "--simulate", "install", *names)
    fresh = [(line.split()[1], "NVIDIA" in line) for line in lines if re.match(r"Inst \S+ \(", line)]
    return {
        "packages": [name for name, nvidias in fresh if nvidias],
        "others": [name for name, nvidias in fresh if not nvidias],
    }


def install(names: Sequence[str], progress: Progress) -> None:
    """Fetch everything first, so a broken download leaves nothing half installed."""

    def each(line: str) -> None:
        tell(line, progress)

    what = "not all packages could be fetched; nothing was installed"
    attempt(what, *INSTALL, *KEEP, "--download-only", "install", *names, each_line=each)
    attempt("the packages could not be installed", *INSTALL, *KEEP, "install", *names, each_line=each)


def hold(names: Sequence[str], *, on: bool = True) -> None:
    if names:
        attempt("packages cannot be held", "apt-mark", "hold" if on else "unhold", *names)


def remove(names: Sequence[str], others: Sequence[str]) -> None:
    """Remove NVIDIA's packages; autoremove handles those of the distribution."""
    here = installed_names()
    kept, removed = [name for name in others if name in here], [name for name in names if name in here]
    hold(removed, on=False)
    if kept:
        attempt("packages cannot be marked", "apt-mark", "auto", *kept)
    if removed:
        attempt("the packages could not be removed", *INSTALL, "purge", *removed)


def installed_names() -> set[str]:
    text = packages.read("/", packages.DPKG_STATUS)
    states = re.compile(r"^Package: (\S+)\nStatus: \S+ \S+ (?:installed|unpacked|half\S*)$", re.MULTILINE)
    return {match[1] for match in states.finditer(text)}
