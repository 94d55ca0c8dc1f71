"""Long work of the role evaluation: the chosen checkpoints and the base, row by row.

Runs as the account under the training's own Python. The spec holds the settings that its job names. A training that
starts ends it by SIGTERM; called again, it goes on with the next row.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from ...core.errors import FleetError
from ...core.progress import Progress
from ...evaluation import perform
from ...evaluation.asked import spec_of
from ...evaluation.choice import choose
from ...evaluation.found import look
from ...findings.finding import finding


def preview(spec: Any) -> list[str]:
    """One sentence each subject. Raises nothing: the plan has judged."""
    asked = spec_of(spec)
    chosen, _findings = choose(look(asked), asked)
    rows = f"{asked.rows} test rows" if asked.rows else "all test rows"
    return [f"evaluate {one.name} ({one.weights}): {asked.mode} on {rows}" for one in chosen]


def work(spec: Any, progress: Progress) -> dict[str, Any]:
    """Can be interrupted anywhere, and repeated: rows that are there are left alone."""
    asked = spec_of(spec)
    before = signal.signal(signal.SIGTERM, _ended)
    try:
        done = perform.perform(asked, str(spec["training_unit"]), progress)
        return {**done, "mode": asked.mode, "folder": asked.folder}
    finally:
        signal.signal(signal.SIGTERM, before)


def _ended(_number: int, _frame: FrameType | None) -> None:
    raise FleetError.of(
        finding(
            "EVALUATION_BUSY",
            variable="training_state",
            found="systemd ended the evaluation, as the start of a training asks for",
            expected="no training on this host while it is evaluated",
        )
    )
