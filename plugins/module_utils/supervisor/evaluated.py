"""The evaluation after the end of a run, as a unit of its own: the payload of the supervisor with the word `evaluate`.

The training's unit starts it when the run is finished, or the merge after it does, and waits for nothing. It runs under
the training's own Python, as the account. A training that starts ends it (started.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from ..core import progress
from ..core.errors import FleetError
from ..evaluation import perform
from ..evaluation.asked import spec_of
from ..system import files


def run(spec_path: str, say: Callable[[str], None] = progress.log, clock: Callable[[], float] = time.monotonic) -> int:
    """The exit code; why it failed is in the journal, and in the state that the plan and the status read."""
    spec = json.loads(files.read(spec_path))
    asked = spec_of(spec)
    try:
        perform.perform(asked, str(spec["training_unit"]), progress.journal(say, clock))
    except (FleetError, OSError) as error:
        say(f"the evaluation failed: {error}")
        return 1
    say(f"evaluated: {asked.mode} in {asked.folder}")
    return 0
