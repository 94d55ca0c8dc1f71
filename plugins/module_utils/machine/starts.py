"""Whether a converge starts a training. Used by the plan, and on the host, which then reads more."""

from __future__ import annotations

from ..core.settings import Settings

ALIVE = ("running", "restarting", "stopping")  # phases of a training that has processes, or will by itself


def will_start(phase: str, settings: Settings) -> bool:
    """True for a training that neither runs nor has finished."""
    state = settings.get("training_state")
    over = phase == "finished" and state != "restarted"
    return state in ("started", "restarted") and not over and phase not in ALIVE
