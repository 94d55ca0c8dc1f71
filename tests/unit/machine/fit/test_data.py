"""A fit as data, for the plan's JSON: the declared form, with the figures of the judgement."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.assess import Fit, assess
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.disks import Disk
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.host_memory import host_floor, host_need
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.judge import Node
from ansible_collections.canvas.fleet.plugins.module_utils.machine.fit.memory import Run, gpu_need
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL

from tests.unit.support.places import ROOT
from tools.cards import CARDS, MIB

DEFS = json.loads((ROOT / "docs/plan.schema.json").read_text())["$defs"]
CHECK = jsonschema.Draft202012Validator({"$defs": DEFS, "$ref": "#/$defs/fit"})
DISKS = (
    Disk("/srv", 100.0, {"weights": 60.0, "checkpoints": 41.0}, ("weights_dir", "training_checkpoint_dir")),
    Disk("/", 40.0, {"environment": 30.0}, ("conda_env_root",)),
)
SMALL, LARGE = Node(2, CARDS["A100-40"] * MIB, 256e9, "A100"), Node(8, CARDS["H200"] * MIB, 2e12, "H200")


def fit_of(run: Run, node: Node) -> Fit:
    return replace(assess(run, node), disks=DISKS, seconds={"download": 10.0, "save": 2.0})


@pytest.mark.parametrize(
    ("run", "node"),
    [
        pytest.param(Run(BAGEL, 8), LARGE, id="it fits"),
        pytest.param(Run(BAGEL, 2), SMALL, id="it does not"),
        pytest.param(Run(BAGEL, 1, gpu=False), Node(0, 0, 256e9), id="a host without GPUs"),
        pytest.param(Run(BAGEL, 2), Node(0, 0, 256e9), id="GPUs that were not seen yet"),
    ],
)
def test_it_has_the_declared_form(run: Run, node: Node) -> None:
    data = json.loads(json.dumps(fit_of(run, node).as_dict(), allow_nan=False))
    assert list(CHECK.iter_errors(data)) == []


def test_its_figures_are_those_of_the_judgement() -> None:
    run = Run(BAGEL, 2)
    fit = fit_of(run, SMALL)
    data: Any = fit.as_dict()
    gpu, host = data["gpu"], data["host"]
    assert (data["state"], gpu["state"], host["state"]) == ("short", "short", "fits")
    assert (gpu["need"], gpu["have"]) == (gpu_need(run), SMALL.gpu_bytes)
    assert gpu["missing"] == gpu_need(run) - SMALL.gpu_bytes
    assert (host["need"], host["floor"], host["missing"]) == (host_need(run), host_floor(run), 0)
    assert max(sum(items.values()) for items in data["phases"]["gpu"].values()) == gpu_need(run)
    assert max(sum(items.values()) for items in data["phases"]["host"].values()) == host_need(run)
    assert data["phases"]["gpu"][gpu["phase"]] == gpu["items"]
    assert (data["model"]["parameters"], data["model"]["trained"]) == (BAGEL.parameters, run.trained)
    full, lora = data["profiles"]["full"], data["profiles"]["lora"]
    assert (full["fits"], full["gpu_need"], full["gpu_missing"]) == (False, gpu["need"], gpu["missing"])
    assert (lora["fits"], lora["gpu_missing"], lora["host_missing"]) == (True, 0, 0)
    assert lora["host_need"] == host_need(run.adapted())
    assert data["seconds"] == {"download": 10.0, "save": 2.0}


def test_the_nearest_that_fits_is_told_as_settings_and_as_hardware() -> None:
    data = fit_of(Run(BAGEL, 2), SMALL).as_dict()
    setting, hardware = data["nearest_setting"], data["nearest_hardware"]
    assert (setting["settings"], setting["gpus"]) == ({"training_profile": "lora"}, 0)
    assert (hardware["settings"], hardware["gpus"] > 2) == ({}, True)
    assert hardware["host_memory_bytes"] == host_floor(Run(BAGEL, hardware["gpus"]))
    at_ease = fit_of(Run(BAGEL, 8), LARGE).as_dict()
    assert (at_ease["nearest_setting"], at_ease["nearest_hardware"]) == (None, None)


def test_each_disk_is_told_with_what_it_lacks() -> None:
    srv, root = fit_of(Run(BAGEL, 8), LARGE).as_dict()["disks"]
    assert srv == {
        "at": "/srv",
        "have": 100.0,
        "parts": {"weights": 60.0, "checkpoints": 41.0},
        "variables": ("weights_dir", "training_checkpoint_dir"),
        "need": 101.0,
        "short": True,
    }
    assert (root["need"], root["short"]) == (30.0, False)
