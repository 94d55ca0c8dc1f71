"""Where root's own records and secrets lie on a host. fleet_state_dir and these folders in it belong to root."""

from __future__ import annotations

from ..core.settings import Settings


def wandb_key(settings: Settings) -> str:
    """The file with the W&B key (0600), which systemd reads and hands to the supervisor."""
    return f"{settings['fleet_state_dir']}/secrets/wandb_api_key"
