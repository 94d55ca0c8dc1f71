"""The door to systemd: show, start and stop units, and run transient ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import FleetError
from . import programs
from .programs import Done

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ACTIVE = ("active", "activating", "deactivating", "reloading")


@dataclass(frozen=True)
class UnitState:
    """The words of `systemctl show`."""

    active: str = "inactive"
    result: str = "success"

    @property
    def runs(self) -> bool:
        return self.active in ACTIVE


def systemctl(*words: str) -> Done:
    return _run("systemctl", *words)


def must(*words: str) -> None:
    """Raises FleetError with systemctl's message when it fails."""
    done = systemctl(*words)
    if not done:
        raise FleetError(f"systemctl {' '.join(words)} failed", found=" ".join(done.err.split()))


def show(properties: Sequence[str], *units: str) -> list[dict[str, str]]:
    """These properties of each unit, in the order of the units; [] on a host without systemd."""
    shown = systemctl("show", *(f"-p{name}" for name in properties), *units).out
    return [fields(block) for block in shown.split("\n\n") if block.strip()]


def fields(text: str) -> dict[str, str]:
    """`systemctl show`: one Name=value per line."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def state(unit: str) -> UnitState:
    values = next(iter(show(("ActiveState", "Result"), unit)), {})
    return UnitState(values.get("ActiveState", "inactive"), values.get("Result", "success"))


class Systemd:
    """Transient units of this host's service manager."""

    def state(self, unit: str) -> UnitState:
        return state(unit)

    def start(self, unit: str, properties: Sequence[str], argv: Sequence[str]) -> None:
        """Returns when the program runs; raises FleetError when systemd cannot start it."""
        if not os.path.isdir("/run/systemd/system"):
            raise FleetError(
                "long work runs as a systemd unit, so it survives a lost connection",
                found="a host whose first process is not systemd",
                remedy="use a host that was booted with systemd",
            )
        options = [word for item in properties for word in ("-p", item)]
        done = _run("systemd-run", f"--unit={unit}", "--quiet", *options, "--", *argv)
        if not done:
            raise FleetError(f"systemd could not start {unit}", found=done.err.strip().replace("\n", "; "))

    def stop(self, unit: str) -> None:
        systemctl("stop", unit)

    def forget(self, unit: str) -> None:
        systemctl("reset-failed", unit)

    def last_lines(self, unit: str) -> list[str]:
        shown = _run("journalctl", "-u", unit, "-n", "5", "-o", "cat", "--no-pager", "-q").out
        return shown.splitlines()[-5:]


def _run(*argv: str) -> Done:
    return programs.run(*argv, env={"PATH": PATH, "LC_ALL": "C"})
