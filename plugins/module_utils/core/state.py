"""Paths of root's records and secrets on a host. fleet_state_dir and its folders belong to root."""

from __future__ import annotations

from ..core.settings import Settings


def wandb_key(settings: Settings) -> str:
    """The file with the W&B key (0600), which systemd reads and hands to the supervisor."""
    return f"{settings['fleet_state_dir']}/secrets/wandb_api_key"
