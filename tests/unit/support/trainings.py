"""A training as the role `training` reads it: settings, states of its unit, observations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import decide as training_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import observe as training
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload as supervisor_spec
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.have import Have, as_dict
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.text import render, render_gpu
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import checkpoint as checkpoints

from tests.unit.support.places import FIXTURES

RECORDED = FIXTURES / "trainer"


SHAPE = Topology("atlas", ("atlas",), 0, 2, 2, "localhost", 29501)


SETTINGS: dict[str, Any] = {
    "training_unit": "canvas-training-atlas",
    "training_run": "atlas",
    "training_script": "/srv/b/train.sh",
    "training_working_dir": "/srv/b/code",
    "training_results_dir": "/srv/b/out",
    "training_checkpoint_dir": "/srv/b/out/checkpoints",
    "training_inputs": ["/srv/b/data.yaml"],
    "training_wandb_key_file": "",
    "training_state": "started",
    "training_restarts": 3,
    "training_stop_seconds": 60,
    "fleet_user": "blockmoving",
    "fleet_group": "blockmoving",
    "fleet_state_dir": "/var/lib/canvas-fleet",
    "run_config_auto_resume": True,
    "run_config_num_shard": 0,
}


WANT = training.want_of(SETTINGS, SHAPE)


READY = Have(
    text=render(WANT),
    gpu=render_gpu(WANT),
    spec=WANT.spec(),
    payloads=(supervisor_spec.payload()[0],),
    load="loaded",
    enabled=True,
    record=True,
    folders=True,
)


RUNS = replace(READY, active="active", sub="running")


def checkpoint(step: int, kind: str = "whole", shards: int | None = 2, flaw: str = "") -> checkpoints.Checkpoint:
    return checkpoints.Checkpoint(step, f"/srv/b/out/checkpoints/{step:07d}", kind, (flaw,) if flaw else (), shards)


def seen(
    have: Have, *found: checkpoints.Checkpoint, foreign: tuple[str, ...] = (), step: int | None = None
) -> dict[str, Any]:
    """An observation as it arrives on the controller."""
    told = {
        "unit": as_dict(have),
        "phase": have.phase,
        "log": {"step": step, "total_steps": 60},
        "tail": [],
        "failure": None,
        "survey": checkpoints.Survey(found, foreign).as_dict(),
    }
    return dict(json.loads(json.dumps(told)))


def decide(observed: dict[str, Any], topology: Topology = SHAPE, **changed: Any) -> Any:
    return training_plan.decide(observed, {**SETTINGS, **changed}, topology)


def at(folder: Path, **change: Any) -> Want:
    return replace(
        WANT, results_dir=str(folder / "out"), checkpoint_dir=str(folder / "out/ck"), state_dir=str(folder), **change
    )


def write(want: Want, log: str = "", errors: str = "") -> None:
    Path(want.results_dir).mkdir(parents=True, exist_ok=True)
    Path(want.own).mkdir(parents=True, exist_ok=True)
    Path(want.log).write_text(log)
    Path(want.errors).write_text(errors)


class Dies:
    """A host whose training does not live."""

    def __init__(self) -> None:
        self.have = READY

    def read(self, want: Want) -> Have:
        return self.have

    def do(self, step: str, want: Want) -> None:
        assert step == "start"
        self.have = replace(self.have, active="failed", result="exit-code", status=1, ended="exit-code exited 1")

    def settled(self, want: Want, seconds: float) -> Have:
        return self.have

    def stopped(self, want: Want) -> None:
        raise AssertionError
