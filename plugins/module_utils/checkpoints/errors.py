"""Errors of the guard that another start may not meet: the supervisor tries again after a pause."""

from __future__ import annotations

from ..core.errors import FleetError


class PeersError(FleetError):
    """The other nodes, or their shared files, are missing so far."""

    retry = True
    kind = "PEERS_MISSING"


class ChangedError(FleetError):
    """Another program changes the checkpoints right now."""

    retry = True
    kind = "CHECKPOINTS_CHANGED"
