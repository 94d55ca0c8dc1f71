"""The door to the distribution's packages: apt and dnf with their locks, and what is installed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from ..core.errors import FleetError
from ..core.progress import Progress
from . import programs

LOCK_TIMEOUT = 300.0  # seconds for another package manager; a fresh server updates itself in its first minutes
LISTS_LOCKED = "lists/lock"  # DPkg::Lock::Timeout does not cover it
DPKG_LOCKED = "lock was locked by "  # and by whom; Debian 13 names the program
QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
APT = ("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT:.0f}")
STATUS = ("-o", "APT::Status-Fd=1")
Sleep = Callable[[float], None]


def manager() -> Literal["apt", "dnf", ""]:
    if programs.find("apt-get"):
        return "apt"
    return "dnf" if programs.find("dnf") else ""


def known_manager() -> str:
    """Raises FleetError on a host without apt and dnf."""
    found = manager()
    if not found:
        raise FleetError("no known package manager", found="neither apt-get nor dnf")
    return found


def lacking(manager: str, names: Sequence[str]) -> list[str]:
    """Those of the packages that are not installed whole."""
    if not manager or not names:
        return []
    if manager == "apt":
        shown = programs.run("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *names).out
        have = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
        return [name for name in names if name not in have]
    return [name for name in names if "no package" in programs.run("rpm", "-q", "--whatprovides", name).out]


def install(names: Sequence[str], progress: Progress) -> None:
    """Raises FleetError with the last words of the package manager."""
    if known_manager() == "dnf":
        programs.must("dnf", "-y", "--setopt=install_weak_deps=False", "install", *names)
        return
    configure()
    when_unlocked(lambda: programs.must(*APT, "update", env=QUIET), LISTS_LOCKED)
    command = (*APT, *STATUS, "--no-install-recommends", "install", *names)
    programs.must(*command, each=lambda line: tell(line, progress), env=QUIET)


def configure(sleep: Sleep = time.sleep) -> None:
    """Repair an interrupted installation, if there is one."""
    when_unlocked(lambda: programs.must("dpkg", "--configure", "-a", env=QUIET), DPKG_LOCKED, sleep)


def when_unlocked(step: Callable[[], object], locked: str, sleep: Sleep = time.sleep) -> None:
    """Repeat a program that does not wait for a lock; `locked` is its message then."""
    waited = 0.0
    while True:
        try:
            step()
            return
        except FleetError as error:
            if locked not in error.found or waited >= LOCK_TIMEOUT:
                raise
        sleep(5.0)
        waited += 5.0


def tell(line: str, progress: Progress) -> None:
    """apt's status lines: dlstatus:<n>:<percent>:<text> and pmstatus:<package>:<percent>:<text>."""
    words = line.split(":", 3)
    if len(words) == 4 and words[0] in ("dlstatus", "pmstatus"):
        half = 0 if words[0] == "dlstatus" else 50
        progress(half + int(float(words[2])) // 2, 100, "%", "system packages")
