"""The models that were merged from a run's adapters, as they lie on the disk. Reads alone; model_folder.py makes them.

<training_results_dir>/models/0000060/     a model folder; it gets its name when it is whole
<training_results_dir>/models/.new-…       being made; a merge that was cut begins anew
<training_results_dir>/models/.state.json  how far a merge is, for whoever waits for it or looks
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from ..core import wire
from ..system import files, folders
from ..trainer.adapter import FILE
from ..trainer.checkpoint import Checkpoint, survey
from .seal import Place

RECORD, STATE = "MERGED.json", ".state.json"
SMALL = 1 << 16  # bytes of these two
NEWEST = -1
STEP = re.compile(r"[0-9]{7,}")


@dataclass(frozen=True)
class Made:
    """MERGED.json: what the weights were made of. `swallowed`: share of the adapted numbers that rounding to bfloat16
    left as they were. `samples`: parts of the file that were compared after writing."""

    step: int
    rank: int
    alpha: float
    targets: str
    base: str
    adapter: str  # SHA-256 of the adapters' file
    layers: int
    connectors: int
    swallowed: float
    samples: int
    size: int
    version: str = ""


@dataclass(frozen=True)
class State:
    """`.state.json`: of a merge that goes on, or how the last one ended."""

    step: int = NEWEST
    done: int = 0
    total: int = 0
    unit: str = ""
    what: str = ""
    error: str = ""
    samples: tuple[tuple[float, int], ...] = field(default=())


def models_of(results: str) -> str:
    return f"{os.path.normpath(results)}/models"


def folder_of(results: str, step: int) -> str:
    return f"{models_of(results)}/{step:07d}"


def made_in(folder: str) -> Made | None:
    """What a folder says that it was made of; None for one that no merge finished."""
    return wire.from_record(Made, files.load(f"{folder}/{RECORD}", SMALL, follow=False))


def made_steps(results: str) -> tuple[int, ...]:
    """Steps with a finished model folder, rising."""
    try:
        names = folders.names(models_of(results))
    except OSError:
        return ()
    return tuple(
        sorted(int(name) for name in names if STEP.fullmatch(name) and made_in(f"{models_of(results)}/{name}"))
    )


def unmerged(place: Place, results: str) -> int | None:
    """The newest step with whole adapters, where no model was made of it; None without such."""
    steps = [one.step for one in survey(place.checkpoints).checkpoints if whole_adapters(one)]
    newest = max(steps, default=None)
    return None if newest is None or newest in made_steps(results) else newest


def leftovers(results: str) -> list[str]:
    """What merges have made: models, and what a cut one left. A person's own folder beside them is none of it."""
    models = models_of(results)
    try:
        names = folders.names(models)
    except OSError:
        return []
    own = [name for name in names if name.startswith((".new-", ".old-")) or name in (".lock", STATE)]
    return [f"{models}/{name}" for name in (*own, *(f"{step:07d}" for step in made_steps(results)))]


def state_of(results: str) -> State | None:
    return wire.from_record(State, files.load(f"{models_of(results)}/{STATE}", SMALL, follow=False))


def whole_adapters(one: Checkpoint) -> bool:
    """Can its adapters be merged? Its other files need not be whole for that."""
    return bool(one.adapter) and not any(flaw.startswith(FILE) for flaw in one.flaws)
