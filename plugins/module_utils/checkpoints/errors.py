"""What the guard meets that another start may well not meet: the supervisor tries again after a pause."""

from __future__ import annotations

from ..core.errors import FleetError


class PeersError(FleetError):
    """The other nodes, or what they share, are not there (yet)."""

    retry = True
    kind = "PEERS_MISSING"


class ChangedError(FleetError):
    """Somebody else changes the checkpoints at this very moment."""

    retry = True
    kind = "CHECKPOINTS_CHANGED"
