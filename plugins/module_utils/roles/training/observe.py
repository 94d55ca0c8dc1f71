"""The role `training`: the unit that runs the trainer, what its log says, and which checkpoints are whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...core.topology import Topology
from . import want as unit_want
from .read import read
from .report import told
from .want import Want

# Want's field to the setting that gives it, where the name is not training_<field>.
NAMED = {"user": "fleet_user", "group": "fleet_group", "state_dir": "fleet_state_dir"}
# Settings of other roles come to the role through defaults of its own, which are settings too.
FIELDS = (
    "unit", "run", "user", "group", "script", "working_dir", "results_dir", "checkpoint_dir", "state_dir", "inputs",
    "mounts", "wandb_key_file", "restarts", "stop", "stop_seconds", "apply", "kept_dir", "peer_port", "peer_allow",
    "share", "save_every", "total_steps", "auto_resume", "weights_expected", "load_seconds", "first_step_seconds",
    "save_seconds", "step_seconds", "first_ce_warn", "first_ce_stop", "keep_last", "keep_every",
)  # fmt: skip


def want_of(settings: Mapping[str, Any], topology: Topology | None = None) -> Want:
    """The unit that the settings ask for; `topology` is the run's, which only the plan knows."""
    given = {name: settings.get(NAMED.get(name, f"training_{name}")) for name in FIELDS}
    told = {name: value for name, value in given.items() if value is not None}
    told.update({name: tuple(map(str, told.get(name, ()))) for name in ("inputs", "mounts", "peer_allow")})
    shared = topology.as_dict() if topology else {}
    return Want(**told, **unit_want.of_topology(shared, int(settings.get("training_num_shard") or 0)))


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"unit": Have, "log": TrainLog, "survey": Survey, "failure": Failure or None, "phase": …}, all as plain data."""
    want = want_of(settings)
    return told(read(want), want)
