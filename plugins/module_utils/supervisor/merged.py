"""The merge after the last save, as a unit of its own: the payload of the supervisor with the word `merge`.

The training's unit starts it when the run is finished, and does not wait for it. It runs under the training's own
Python, which has numpy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from ..checkpoints import model_folder
from ..checkpoints.model_folder import MergeSpec
from ..core import progress
from ..core.errors import FleetError
from ..system import files
from .guard import place_of


def run(spec_path: str, say: Callable[[str], None] = progress.log, clock: Callable[[], float] = time.monotonic) -> int:
    """The exit code; why it failed is in the journal, and in the state that the plan and the status read."""
    spec = json.loads(files.read(spec_path))
    names = tuple(map(str, spec["merge"]["weights_files"]))
    wanted = MergeSpec(place_of(spec), str(spec["results_dir"]), str(spec["merge"]["weights_dir"]), names)
    try:
        made = model_folder.make(wanted, progress.journal(say, clock))
    except (FleetError, OSError) as error:
        say(f"the merge failed: {error}")
        return 1
    say(f"step {made['step']} is a whole model in {made['path']}")
    return 0
