"""Whether a converge starts a training. Asked on the host, which then looks at more, and in the plan."""

from __future__ import annotations

from ..core.settings import Settings

ALIVE = ("running", "restarting", "stopping")  # phases of a training that has processes, or will by itself


def will_start(phase: str, settings: Settings) -> bool:
    """True for a training that does not run, and has not come to its end."""
    state = settings.get("training_state")
    over = phase == "finished" and state != "restarted"
    return state in ("started", "restarted") and not over and phase not in ALIVE
