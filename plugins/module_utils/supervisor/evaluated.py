"""The evaluation after the end of a run, as a unit of its own: the payload of the supervisor with the word `evaluate`.

The training's unit starts it when the run is finished, or the merge after it does, and waits for nothing. It runs under
the training's own Python, as the account. A training that starts ends it (started.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ..core import progress
from ..core.errors import FleetError
from ..core.progress import Progress
from ..evaluation import perform
from ..evaluation.asked import spec_of
from ..system import files

EVERY = 30.0  # seconds between two lines in the journal


def run(spec_path: str, say: Callable[[str], None] = progress.log, clock: Callable[[], float] = time.monotonic) -> int:
    """The exit code; why it failed is in the journal, and in the state that the plan and the status read."""
    spec, last = json.loads(files.read(spec_path)), float("-inf")

    def write(state: dict[str, Any]) -> None:
        nonlocal last
        if clock() - last >= EVERY:
            last = clock()
            say(progress.line(progress.reading(state, time.time())))

    asked = spec_of(spec["evaluation"])
    try:
        perform.perform(asked, str(spec["evaluation"]["training_unit"]), Progress(write))
    except (FleetError, OSError) as error:
        say(f"the evaluation failed: {error}")
        return 1
    say(f"evaluated: {asked.mode} in {asked.folder}")
    return 0
