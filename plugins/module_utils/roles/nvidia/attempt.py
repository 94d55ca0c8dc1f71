"""Failures of package managers in terms of the role nvidia: variable and remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ...core.errors import FleetError
from ...system import programs
from ...system.packages import QUIET

# Message of a package manager, variable, and remedy. The first match counts.
REMEDIES = (
    (
        r"Conflicting values set for option Signed-By",
        "nvidia_repository_url",
        "two sources have one address and different keys, so apt stops: remove one of them",
    ),
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
        r"(nothing provides|requires) dkms",
        "",
        "dkms lies in EPEL: enable EPEL and CRB on the host (dnf install epel-release; dnf config-manager "
        "--set-enabled crb), and converge again",
    ),
    (
        r"Failed to (fetch|download)|Cannot download|Could not (connect|resolve)",
        "nvidia_repository_url",
        "check the network between host and repository, or choose a mirror that has all listed files",
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
    (r"enough free space", "nvidia_toolkit", "free space on / (driver 1 GB, toolkit 8 GB)"),
    (r"[Cc]ould not get lock|lock was locked by", "", "another package manager runs on the host: wait for it"),
    (r"dkms|kernel module build", "nvidia_driver_branch", "look at /var/lib/dkms/nvidia/*/build/make.log on the host"),
)


def explained(error: FleetError, what: str) -> FleetError:
    """The same failure with this role's remedy."""
    for pattern, variable, remedy in REMEDIES:
        if re.search(pattern, error.found):
            return FleetError(what, variable=variable, found=error.found, remedy=remedy)
    return FleetError(what, found=error.found)


def attempt(what: str, *argv: str, each_line: Callable[[str], None] | None = None) -> list[str]:
    """Run it and return its lines. Raises FleetError with the program's message and a remedy."""
    lines: list[str] = []

    def each(line: str) -> None:
        lines.append(line.rstrip())
        if each_line:
            each_line(line)

    try:
        programs.must(*argv, each=each, env=QUIET)
    except FleetError as error:
        error.found = whole(error.found, lines)
        raise explained(error, what) from error
    return lines


def whole(found: str, lines: Sequence[str]) -> str:
    """dnf's lines below a bare "Error:", else the error unchanged."""
    if found.strip() != "Error:":
        return found
    below = lines[[line.strip() for line in lines].index("Error:") + 1 :]
    return "; ".join(line.strip(" -") for line in below if not line.startswith("(try"))
