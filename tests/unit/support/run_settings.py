"""Settings as the plan sees them, for tests of the trainer's settings: the roles' own defaults, in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology

from tests.unit.support.places import ROOT

CODE = """\
from .x import A
DATASET_REGISTRY = {
    'interleave_reasoning': A,
}
DATASET_INFO = {
    'interleave_reasoning':{
        'mathcanvas_instruct': {
            'data_dir': "your_data_path",
\t\t},
    },
}"""


def settings(root: Path | str = "/srv/blockmoving", **changes: Any) -> dict[str, Any]:
    """Defaults of run_config, with what it takes from the other roles as they stand on a normal host."""
    root = str(root)
    values: dict[str, Any] = yaml.safe_load((ROOT / "roles/run_config/defaults/main.yml").read_text())
    values.update(
        fleet_user="blockmoving",
        fleet_group="blockmoving",
        fleet_state_dir=f"{root}/state",
        canvas_code_source="git",
        canvas_code_commit="cc48f16eabcc30baac600a7148606a7fa2026269",
        canvas_code_dir=f"{root}/MathCanvas/BAGEL-Canvas",
        canvas_code_lean=True,
        conda_env_prefix=f"{root}/miniforge3/envs/bagel-canvas",
        nvidia_cuda_home="/usr/local/cuda-12.6",
        nvidia_gpu_expected=True,
        dataset_name="blockmoving_train",
        dataset_group="interleave_reasoning",
        dataset_train_dir=f"{root}/BlockMovingSFT/train",
        dataset_info_path=f"{root}/BlockMovingSFT/train/train_split_info.json",
        weights_dir=f"{root}/models/BAGEL-7B-MoT",
        training_results_dir=f"{root}/outputs/atlas",
        evaluation_dir=f"{root}/outputs/atlas/evaluation",
        training_checkpoint_dir=f"{root}/outputs/atlas/checkpoints",
        run_config_resume_from=f"{root}/models/BAGEL-7B-MoT",
        training_profile="full",
        training_lora_rank=32,
        training_lora_alpha=64.0,
        training_lora_dropout=0.0,
        training_lora_targets="all",
        training_lora_connectors=True,
        run_config_ema=0.995,
        run_config_yaml=f"{root}/MathCanvas/BAGEL-Canvas/data/configs/blockmoving_sft.yaml",
        run_config_script=f"{root}/BlockMovingSFT/scripts/train_blockmoving.sh",
    )
    values.update(changes)
    return values


def topology(**changes: Any) -> Topology:
    values: dict[str, Any] = {
        "run": "atlas",
        "hosts": ("atlas",),
        "node_rank": 0,
        "nproc_per_node": 4,
        "num_workers": 4,
        "master_addr": "localhost",
        "master_port": 29501,
    }
    return Topology(**{**values, **changes})


def lay_out(root: Path, rows: int = 613, code: str = CODE) -> None:
    """The code's dataset_info.py and the info file of the data, as the roles before run_config leave them."""
    data = root / "MathCanvas/BAGEL-Canvas/data"
    data.mkdir(parents=True)
    (data / "dataset_info.py").write_bytes(code.encode())
    train = root / "BlockMovingSFT/train"
    train.mkdir(parents=True)
    info = {str(train / "train_split.parquet"): {"num_row_groups": 16, "num_rows": rows}}
    (train / "train_split_info.json").write_text(json.dumps(info))
