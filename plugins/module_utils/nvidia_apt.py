"""apt and dnf for the room nvidia: our source is asked strictly, all is fetched before anything is unpacked."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Sequence

from ansible_collections.canvas.fleet.plugins.module_utils import nvidia_packages
from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.fleet_agent_work import apt_status, run
from ansible_collections.canvas.fleet.plugins.module_utils.progress import Progress

PATIENCE = 300.0  # seconds for another package manager; a fresh server updates itself in its first minutes
APT = ("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={PATIENCE:.0f}")
INSTALL = (*APT, "--no-install-recommends", "--allow-change-held-packages", "--allow-downgrades")
STATUS = ("-o", "APT::Status-Fd=1", "-o", "Dpkg::Options::=--force-confold")
# What a package manager says, the variable it is about, and what mends it. The first that fits.
REMEDIES = (
    (
        r"NO_PUBKEY|not signed|signatures? (couldn't|verification)|BADSIG|KEYSIG|sqv returned|GPG check FAILED",
        "nvidia_repository_fingerprint",
        "if NVIDIA announced a new key, set nvidia_repository_fingerprint to it; else do not trust this mirror",
    ),
    (
        r"Hash Sum mismatch|unexpected size|checksum doesn't match",
        "nvidia_repository_url",
        "the mirror is in the middle of an update, or serves another file: try later, or name another mirror",
    ),
    (
        r"Failed to (fetch|download)|Cannot download|Could not (connect|resolve)",
        "nvidia_repository_url",
        "check the host's way to the repository, or name a mirror that has all files of its list",
    ),
    (
        r"linux-headers-|kernel-devel-",
        "nvidia_gpu_expected",
        "the headers of the running kernel are no longer served: update the system, restart into its newest kernel, "
        "and converge again",
    ),
    (r"nvidia-fabric", "nvidia_driver_branch", "the repository has no fabric manager of this version: name its branch"),
    (r"cuda-toolkit-", "nvidia_cuda_version", "the repository has no toolkit of this version"),
    (
        r"Unable to locate|no installation candidate|Unable to find a match|No match for argument|was not found",
        "nvidia_driver_branch",
        "the repository does not have this package",
    ),
    (r"No space left|enough free space", "nvidia_toolkit", "free space on / (driver 1 GB, toolkit 8 GB)"),
    (r"[Cc]ould not get lock|frontend lock", "", "another package manager runs on the host: wait for it"),
    (r"dkms|kernel module build", "nvidia_driver_branch", "look at /var/lib/dkms/nvidia/*/build/make.log on the host"),
)


def told(error: FleetError, what: str) -> FleetError:
    """The same failure in words of this room."""
    for pattern, variable, remedy in REMEDIES:
        if re.search(pattern, error.found):
            return FleetError(what, variable=variable, found=error.found, remedy=remedy)
    return FleetError(what, found=error.found)


def attempt(what: str, *argv: str, each_line: Callable[[str], None] | None = None) -> list[str]:
    """Run it; returns its lines. Raises FleetError with what the program said, and what mends it."""
    lines: list[str] = []

    def each(line: str) -> None:
        lines.append(line.rstrip())
        if each_line:
            each_line(line)

    try:
        run(*argv, each_line=each)
    except FleetError as error:
        raise told(error, what) from error
    return lines


def refresh(source: str, progress: Progress, sleep: Callable[[float], None] = time.sleep) -> None:
    """Ask NVIDIA's source (a file), where every complaint counts; then the others, where an old list will do."""
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    os.makedirs("/var/lib/apt/lists/partial", exist_ok=True)  # without it apt waits for a lock that nobody holds
    attempt("a package that was half installed cannot be mended", "dpkg", "--configure", "-a")
    progress(0, 0, "", "NVIDIA's repository")
    only = ["-o", f"Dir::Etc::sourcelist={source}", "-o", "Dir::Etc::sourceparts=-"]
    only += ["-o", "APT::Get::List-Cleanup=0", "--error-on=any"]
    update("NVIDIA's repository can't be used; nothing was installed", only, sleep)
    progress(0, 0, "", "the distribution's repositories")
    try:
        update("the distribution's repositories can't all be read", (), sleep)
    except FleetError as error:
        print(error, flush=True)  # noqa: T201 - the log of this work; what is missing is named by the installation


def update(what: str, options: Sequence[str], sleep: Callable[[float], None]) -> None:
    """apt-get update; DPkg::Lock::Timeout does not cover the lock of the lists, so that one is waited for here."""
    waited = 0.0
    while True:
        try:
            attempt(what, *APT, *options, "-o", "Acquire::Retries=2", "update")
            return
        except FleetError as error:
            if "lists/lock" not in error.found or waited >= PATIENCE:
                raise
        sleep(5.0)
        waited += 5.0


def candidate(name: str) -> str:
    """The version that apt would install; "" for none."""
    for line in attempt("apt-cache failed", "apt-cache", "policy", name):
        if line.strip().startswith("Candidate:"):
            version = line.split(":", 1)[1].strip()
            return "" if version == "(none)" else version
    return ""


def exact(names: Sequence[str], driver: str) -> list[str]:
    """The names, fabric manager in the driver's very version. `driver`: the running one's, "" for the new one's."""
    metas = [name for name in names if name in ("nvidia-open", "cuda-drivers")]
    version = nvidia_packages.upstream(candidate(metas[0])) if metas else driver
    chosen = []
    for name in names:
        if not name.startswith("nvidia-fabricmanager"):
            chosen.append(name)
            continue
        shown = attempt("apt-cache failed", "apt-cache", "madison", name)
        served = [words[1].strip() for line in shown if len(words := line.split("|")) > 2]
        fits = [one for one in served if nvidia_packages.upstream(one) == version]
        if not fits:
            raise FleetError(
                "fabric manager must be of the driver's very version, and the repository does not have it",
                variable="nvidia_driver_branch",
                found=f"{name} {', '.join(served) or 'none'}",
                expected=f"{name} {version}",
                remedy="name a branch that has both, or a mirror that is up to date",
            )
        chosen.append(f"{name}={fits[0]}")
    return chosen


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
    """Everything is fetched first, so that a mirror that breaks off leaves nothing half installed."""

    def each(line: str) -> None:
        apt_status(line, progress)

    what = "not all packages could be fetched; nothing was installed"
    attempt(what, *INSTALL, *STATUS, "--download-only", "install", *names, each_line=each)
    attempt("the packages could not be installed", *INSTALL, *STATUS, "install", *names, each_line=each)


def hold(names: Sequence[str], *, on: bool = True) -> None:
    if names:
        attempt("packages cannot be held", "apt-mark", "hold" if on else "unhold", *names)


def remove(names: Sequence[str], others: Sequence[str]) -> None:
    """NVIDIA's packages go; what came along from the distribution is left to its own autoremove."""
    here = installed_names()
    kept, gone = [name for name in others if name in here], [name for name in names if name in here]
    hold(gone, on=False)
    if kept:
        attempt("packages cannot be marked", "apt-mark", "auto", *kept)
    if gone:
        attempt("the packages could not be removed", *INSTALL, "purge", *gone)


def installed_names() -> set[str]:
    text = nvidia_packages.read("/", "var/lib/dpkg/status")
    states = re.compile(r"^Package: (\S+)\nStatus: \S+ \S+ (?:installed|unpacked|half\S*)$", re.MULTILINE)
    return {match[1] for match in states.finditer(text)}


def dnf_install(names: Sequence[str], progress: Progress) -> None:
    """The same on EL: our repository strictly, all fetched, then installed, and locked by version."""
    progress(0, 0, "", "NVIDIA's repository")
    dnf = ("dnf", "-y", "--setopt=skip_if_unavailable=False", "--setopt=install_weak_deps=False")
    what = "NVIDIA's repository can't be used; nothing was installed"
    attempt(what, *dnf, "--repo=canvas-fleet-nvidia", "makecache")
    attempt("not all packages could be fetched; nothing was installed", *dnf, "install", "--downloadonly", *names)
    attempt("the packages could not be installed", *dnf, "install", *names)


def dnf_hold(on: bool) -> None:
    if shutil.which("dnf"):
        attempt("packages cannot be held", "dnf", "-y", "versionlock", *(["add", "*nvidia*"] if on else ["clear"]))
