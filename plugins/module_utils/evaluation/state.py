"""How far an evaluation is, for whoever waits for it or looks, and who else needs the GPUs of the host.

<evaluation_dir>/.state.json   of the work that goes on, or how the last one failed
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..core import wire
from ..system import files, units

STATE = ".state.json"
SMALL = 1 << 16  # bytes
# The units of canvas-fleet on a host that need its GPUs, by their names.
TRAININGS = "canvas-training-*.service"
HELPERS = re.compile(r"-(gpu|merge)\.service$")
AT_END = "-evaluation"
WORK = "canvas-work-evaluation.service"


@dataclass(frozen=True)
class State:
    """`.state.json`: of an evaluation that goes on, or how the last one ended."""

    mode: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    what: str = ""
    error: str = ""
    samples: tuple[tuple[float, int], ...] = ()


def state_of(folder: str) -> State | None:
    return wire.from_record(State, files.load(f"{folder}/{STATE}", SMALL, follow=False))


def busy() -> dict[str, str]:
    """Units of trainings on this host that live, and of evaluations after them; with systemd's word."""
    shown = units.show(("Id", "ActiveState"), TRAININGS)
    found = {one.get("Id", ""): one.get("ActiveState", "") for one in shown}
    return {
        name.rpartition(".")[0]: active
        for name, active in sorted(found.items())
        if name and not HELPERS.search(name) and active in units.ACTIVE
    }


def trainings(alive: dict[str, str]) -> dict[str, str]:
    """The trainings among the units of busy()."""
    return {name: active for name, active in alive.items() if not name.endswith(AT_END)}


def stop_all() -> None:
    """Ends every evaluation of this host, and waits for that: a training that starts needs the GPUs."""
    mine = (WORK, f"canvas-training-*{AT_END}.service")
    if any(one.get("ActiveState") in units.ACTIVE for one in units.show(("ActiveState",), *mine)):
        units.systemctl("stop", *mine)
