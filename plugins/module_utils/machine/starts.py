"""Whether a converge starts a training. Asked on the host, which then looks at more, and in the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALIVE = ("running", "restarting", "stopping")  # phases of a training that has processes, or will by itself


def will_start(phase: str, settings: Mapping[str, Any]) -> bool:
    """True for a training that does not run, and has not come to its end."""
    state = settings.get("training_state")
    over = phase == "finished" and state != "restarted"
    return state in ("started", "restarted") and not over and phase not in ALIVE
