"""A training as the role `training` reads it: settings, states of its unit, observations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import decide as training_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload as supervisor_spec
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.have import Have
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.observe import Observation
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import checkpoint as checkpoints
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.log import Summary

from tests.unit.support.places import FIXTURES
from tests.unit.support.units import FILL, SETTINGS, SHAPE, WANT, want

RECORDED = FIXTURES / "trainer"


READY = Have(
    text=WANT.texts.unit,
    gpu=WANT.texts.gpu,
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
) -> Observation:
    """An observation as it arrives on the controller."""
    told = Observation(have, Summary(step=step, total_steps=60), survey=checkpoints.Survey(found, foreign))
    return wire.from_dict(Observation, json.loads(json.dumps(wire.to_dict(told))))


def decide(observed: Observation, topology: Topology = SHAPE, **changed: Any) -> Any:
    return training_plan.decide(observed, {**SETTINGS, **changed}, topology, FILL)


def at(folder: Path, **change: Any) -> Want:
    out = folder / "out"
    places = {"training_results_dir": str(out), "training_checkpoint_dir": str(out / "ck")}
    return want(**places, fleet_state_dir=str(folder), **change)


def write(wanted: Want, log: str = "", errors: str = "") -> None:
    Path(wanted.results_dir).mkdir(parents=True, exist_ok=True)
    Path(wanted.own).mkdir(parents=True, exist_ok=True)
    Path(wanted.log).write_text(log)
    Path(wanted.errors).write_text(errors)


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
