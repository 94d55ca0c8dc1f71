"""The role `training`: the unit that runs the trainer, what its log says, and which checkpoints are whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .read import read
from .report import observed
from .want import Want


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"unit": Have, "log": TrainLog, "survey": Survey, "failure": Failure or None, "phase": …}, all as plain data."""
    want = Want(settings)
    return observed(read(want), want)
