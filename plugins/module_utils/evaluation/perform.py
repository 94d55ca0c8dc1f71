"""An evaluation on its host: one at a time in a folder, never beside a training, resumable row by row.

The work of a person and the unit after a finished run come both by here. All of it is the account's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ..core import wire
from ..core.errors import FleetError, raise_for
from ..core.progress import Progress
from ..findings.finding import finding
from ..system import files, folders
from . import program, state
from .choice import choose
from .found import look
from .spec import Spec
from .state import AT_END, STATE, State

LOOK = 1.0  # seconds between two looks
ENDING = 120.0  # seconds that a training which ends may still take

Busy = Callable[[], Mapping[str, str]]


def _busy() -> Mapping[str, str]:
    return state.busy()


def perform(
    spec: Spec,
    unit: str,
    progress: Progress,
    busy: Busy = _busy,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """What evaluation/program.py answers. `unit`: of the training.

    Raises FleetError, OSError; then nothing is evaluated, or not all.
    """
    refuse_beside_trainings(unit, busy, sleep)
    raise_for(choose(look(spec), spec)[1])  # before anything is made
    folders.make(spec.folder)
    return _recorded(spec, progress)


def refuse_beside_trainings(unit: str, busy: Busy, sleep: Callable[[float], None]) -> None:
    """A training that is ending is waited for: it is what starts the evaluation after it."""
    waited = 0.0
    while True:
        alive = dict(busy())
        others = {name: active for name, active in alive.items() if name != f"{unit}{AT_END}"}
        if set(others.values()) != {"deactivating"} or waited >= ENDING:
            break
        sleep(LOOK)
        waited += LOOK
    if others:
        raise FleetError.of(
            finding(
                "EVALUATION_BUSY",
                variable="training_state",
                found=", ".join(f"{name} is {active}" for name, active in others.items()),
                expected="no training, and no evaluation of another run, on this host",
            )
        )


class Both(Progress):
    """Progress for whoever asked, and in the record. Who waits for another evaluation leaves that one's alone."""

    def __init__(self, progress: Progress, path: str, mode: str) -> None:
        super().__init__(lambda record: files.save(path, {**record, "mode": mode}, durable=False))
        self._asked = progress

    def __call__(self, done: int, total: int = 0, unit: str = "", what: str = "") -> None:
        self._asked(done, total, unit, what)
        if not what.startswith("waits"):
            super().__call__(done, total, unit, what)


def _recorded(spec: Spec, progress: Progress) -> dict[str, Any]:
    """With a record for others to look at."""
    path = f"{spec.folder}/{STATE}"
    try:
        done = program.run(spec, Both(progress, path, spec.mode))
    except Exception as error:
        files.save(path, wire.to_dict(State(spec.mode, error=str(error)[:1000])))
        raise
    files.remove(path)
    return done
