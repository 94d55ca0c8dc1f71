"""A training's unit as a normal host has it, for tests of the unit and of its files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.unit_text import texts
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from ansible_collections.canvas.fleet.plugins.plugin_utils.render import Templates

from tests.unit.support.places import ROOT

FILL = Templates()
SHAPE = Topology("atlas", ("atlas",), 0, 2, 2, "localhost", 29501)
SETTINGS: dict[str, Any] = {
    **yaml.safe_load((ROOT / "roles/training/defaults/main.yml").read_text()),
    "training_unit": "canvas-training-atlas",
    "training_run": "atlas",
    "training_results_dir": "/srv/b/out",
    "training_checkpoint_dir": "/srv/b/out/checkpoints",
    "training_weights_expected": True,
    "fleet_user": "blockmoving",
    "fleet_group": "blockmoving",
    "fleet_state_dir": "/var/lib/canvas-fleet",
    "run_config_script": "/srv/b/train.sh",
    "run_config_yaml": "/srv/b/data.yaml",
    "run_config_enable_wandb": False,
    "run_config_save_every": 20,
    "run_config_total_steps": 60,
    "run_config_auto_resume": True,
    "run_config_num_shard": 0,
    "canvas_code_dir": "/srv/b/code",
    "weights_dir": "/srv/b/model",
    "conda_env_prefix": "/srv/b/env",
    "dataset_train_dir": "/srv/b/train",
    **yaml.safe_load((ROOT / "roles/evaluation/defaults/main.yml").read_text()),
    "evaluation_at_end": "none",
    "evaluation_test_file": "/srv/b/test.parquet",
    "evaluation_dir": "/srv/b/out/evaluation",
    "run_config_ema": 0.0,
    "run_config_processes": 0,
    "run_config_timestep_shift": 1.0,
    "run_config_max_latent_size": 64,
    "canvas_code_commit": "c0ffee",
    "nvidia_gpu_expected": True,
}


def want(topology: Topology = SHAPE, **changes: Any) -> Want:
    """With these settings changed, and the texts that the templates make of them."""
    plain = Want({**SETTINGS, **changes}, topology)
    return replace(plain, texts=texts(plain, FILL))


WANT = want()
