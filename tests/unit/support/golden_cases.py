"""Hosts and units whose texts lie whole in tests/fixtures, for review as a diff. tests/goldens.py writes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config.observe import entry
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload as supervisor_spec
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want

from tests.unit.support import run_texts
from tests.unit.support.places import FIXTURES
from tests.unit.support.run_settings import CODE, settings, topology
from tests.unit.support.units import WANT, want

CODES = {"group_there": CODE, "no_group": 'DATASET_REGISTRY = {"interleave_reasoning": 1}\nDATASET_INFO = {}\n'}
TWO_NODES = topology(run="bolt", hosts=("bolt0", "bolt1"), nproc_per_node=8, master_addr="10.0.0.5")
HOSTS: dict[str, tuple[dict[str, Any], Topology]] = {
    "one_gpu_frozen": (
        {"training_profile": "frozen", "run_config_ema": 0.0, "run_config_cpu_offload": True},
        topology(nproc_per_node=1, num_workers=2),
    ),
    "the_guide_s_four_gpus": ({}, topology()),
    "eight_gpus_with_wandb": (
        {
            "run_config_enable_wandb": True,
            "run_config_env": {"PYTHONUNBUFFERED": 0, "WANDB_DIR": "/scratch/it's W&B", "NCCL_DEBUG": "WARN"},
            "run_config_extra_flags": {"freeze_vit": True, "beta2": 0.99},
        },
        topology(nproc_per_node=8),
    ),
    "two_nodes_rank_0": ({}, TWO_NODES),
    "two_nodes_rank_1_with_wandb": (
        {"run_config_enable_wandb": True, "run_config_env": {"NCCL_SOCKET_IFNAME": "eth1"}},
        replace(TWO_NODES, node_rank=1),
    ),
    "no_gpu_code_of_the_controller": (
        {"nvidia_gpu_expected": False, "canvas_code_source": "controller"},
        topology(nproc_per_node=2),
    ),
    "other_names": (
        {
            "dataset_name": "方块 训练",
            "dataset_group": "yes",
            "run_config_wandb_name": "it's $HOME",
            "dataset_train_dir": "/data/my set",
        },
        topology(),
    ),
}
PAIR = Topology("bolt", ("b0", "b1"), 0, 8, 4, "10.0.0.5", 29501, ("10.0.0.5", "10.0.0.6"))
UNITS: dict[str, Want] = {
    "one_node": WANT,
    "eight_gpus_with_wandb": want(
        topology(nproc_per_node=8),
        run_config_enable_wandb=True,
    ),
    "two_nodes_rank_0": want(PAIR),
    "two_nodes_rank_1_with_peers": want(replace(PAIR, node_rank=1), training_peer_networks=["10.1.0.0/16"]),
    "checkpoints_kept_elsewhere": want(
        training_kept_dir="/big/kept", training_keep_last=3, training_keep_every=1000, run_config_save_every=100
    ),
    "adapters_that_are_merged": want(training_profile="lora", weights_files=["ae.safetensors"]),
    "adapters_that_are_merged_and_evaluated": want(
        training_profile="lora", weights_files=["ae.safetensors"], evaluation_at_end="loss", evaluation_dir="/big/50% e"
    ),
    "no_restarts_and_odd_names": want(
        training_restarts=0,
        training_stop_seconds=60,
        training_run="a 100% run",
        training_results_dir="/srv/100% $x",
        fleet_state_dir='/var/lib/50% "state" $y',
        run_config_script='/srv/it\'s "quoted".sh',
        weights_dir="/models/a b",
        dataset_train_dir="/models/c",
    ),
}


def texts() -> Iterator[tuple[Path, str]]:
    """Each golden file, and what it has to be by the code as it is."""
    for name, (changes, place) in HOSTS.items():
        told = settings(**changes)
        made = run_texts.texts(told, place)
        yield FIXTURES / "run_config" / name / "train_blockmoving.sh", made.script
        yield FIXTURES / "run_config" / name / "blockmoving_sft.yaml", made.yaml
        for code, source in CODES.items():
            yield FIXTURES / "run_config" / name / f"dataset_info_{code}.txt", registered(told, source)
    for name, wanted in UNITS.items():
        folder = FIXTURES / "training_units" / name
        yield (
            folder / "training.service",
            wanted.texts.unit.replace(supervisor_spec.payload()[0], "DIGEST.pyz"),
        )
        yield folder / "gpu.service", wanted.texts.gpu
        for after in ("merge", "evaluation"):
            text: str = getattr(wanted.texts, after)
            if text:
                yield folder / f"{after}.service", text.replace(supervisor_spec.payload()[0], "DIGEST.pyz")


def registered(told: dict[str, Any], source: str) -> str:
    """dataset_info.py with the dataset of 613 samples registered."""
    group, name = told["dataset_group"], told["dataset_name"]
    return run_texts.register(source.encode(), group, name, entry(told, 613)).decode()
