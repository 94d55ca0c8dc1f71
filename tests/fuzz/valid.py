"""Fleets that are right: values drawn within the specs, on machines large enough, in any mixture of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.fuzz.fleet import GB, Host, Seen

ROOTS = ("/srv/blockmoving", "/data/bm", "/mnt/nvme0/train", "/home/ubuntu/bm")
DIVISORS = {1530: (85, 153, 170, 255, 306, 510, 765), 600: (100, 150, 200, 300), 3000: (500, 750, 1000)}

Draw = Callable[[Random], Any]


def number(low: int, high: int) -> Draw:
    return lambda random: random.randint(low, high)


def real(low: float, high: float) -> Draw:
    return lambda random: float(f"{random.uniform(low, high):.3g}")


def one(*values: Any) -> Draw:
    return lambda random: random.choice(values)


# What may differ from the default, each within what the trainer and the roles can do.
OF_A_RUN: dict[str, Draw] = {
    "run_config_lr": real(1e-6, 1e-3),
    "run_config_min_lr": real(0, 1e-6),
    "run_config_ema": real(0.9, 0.996),
    "run_config_warmup_steps": number(0, 200),
    "run_config_log_every": number(1, 50),
    "run_config_num_workers": number(1, 8),
    "run_config_ce_weight": real(0, 2),
    "run_config_mse_weight": real(0.1, 2),
    "run_config_timestep_shift": real(0.5, 4),
    "run_config_lr_scheduler": one("cosine", "constant"),
    "run_config_expected_num_tokens": number(4096, 12288),
    "run_config_max_num_tokens": number(32768, 40960),
    "run_config_max_num_tokens_per_sample": number(16384, 20480),
    "run_config_prefer_buffer_before": number(0, 16384),
    "run_config_text_cond_dropout_prob": real(0, 1),
    "run_config_vit_cond_dropout_prob": real(0, 1),
    "run_config_vae_cond_dropout_prob": real(0, 1),
    "run_config_master_port": number(20000, 65535),
    "run_config_enable_wandb": one(True, False, "yes", "false"),
    "run_config_wandb_name": one("blockmoving sft", "run-7", "ä"),
    "run_config_wandb_runid": one("0", "7", 3),
    "run_config_auto_resume": one(True),
    "run_config_debug_batches": number(0, 3),
    "run_config_env": one({}, {"NCCL_SOCKET_IFNAME": "eth1"}, {"NCCL_DEBUG": "INFO", "OMP_NUM_THREADS": 8}),
    "run_config_extra_flags": one({}, {"freeze_vit": True}, {"data_seed": 7, "beta2": 0.95}),
    "weights_revision": one("b" * 40, "main"),
    "canvas_code_commit": one("cc48f16eabcc30baac600a7148606a7fa2026269"),
    "dataset_name": one("blockmoving_train", "blocks-2"),
}
OF_A_HOST: dict[str, Draw] = {
    "fleet_user": one("blockmoving", "ubuntu", "bm_1", "_train"),
    "fleet_root": one(*ROOTS),
    "fleet_reconnect_timeout": number(1, 600),
    "fleet_work_timeout": number(60, 86_400),
    "fleet_state_dir": one("/var/lib/canvas-fleet", "/opt/state"),
    "fleet_pip_index_url": one("", "https://mirror.example/simple", "http://10.0.0.9/simple/"),
    "nvidia_reboot": one("never", "when_needed"),
    "nvidia_reboot_timeout": number(60, 3600),
    "nvidia_cuda_version": one("12.8", "12.6", 12.8),
    "nvidia_toolkit": one(True, False, "no"),
    "conda_env_name": one("bagel-canvas", "bagel", "env.2"),
    "conda_env_python": one("3.10", "3.11", "3.10.14"),
    "conda_env_flash_attn": one("2.8.2", ""),
    "conda_env_channels": one(["conda-forge"], ["https://mirror.example/conda-forge"]),
    "canvas_code_repo": one(
        "https://github.com/me/MathCanvas.git", "git@github.com:me/MathCanvas.git", "git://10.0.0.9/MathCanvas.git"
    ),
    "canvas_code_local_edits": one("keep", "stash"),
    "canvas_code_lean": one(True, False),
    "weights_endpoint": one("https://huggingface.co", "https://hf-mirror.com", "http://10.0.0.9:8080/hf"),
    "weights_dir": one("/models/BAGEL-7B-MoT", "/data/models/BAGEL 7B"),
    "weights_token": one("", "hf_" + "x" * 34),
    "weights_stall_timeout": number(1, 3600),
    "weights_sha256": one({}, {"ema.safetensors": "a" * 64}),
    "dataset_drop_bad_rows": one(True, False),
    "training_restarts": number(0, 10),
    "training_stop_seconds": number(5, 300),
    "training_state": one("started", "present", "stopped"),
    "training_follow": one(True, False),
    "preflight_accepted_findings": one([], ["GPU_BUSY"], "DISK_SHORT"),
    "run_config_wandb_api_key": one("0123456789abcdef" * 2, "0123456789abcdef01234567\n"),
    "my_own_variable": one("x"),
    "train_script": one("x"),
}


def machine(random: Random) -> Callable[[Seen], None]:
    """Eight large GPUs, and more of everything than is needed."""
    memory, disk = random.choice((2200, 3000, 4000)), random.choice((20_000, 60_000))
    size = random.choice((141, 180, 192))
    version = random.choice(("3.9.2", "3.10.12", "3.11.2", "3.12.3"))

    def topology(seen: Seen) -> None:
        seen["facts"].update(memory_bytes=memory * GB, python=version)
        for place in seen["facts"]["disks"].values():
            place["free"] = disk * GB
        for gpu in seen["roles"]["nvidia"]["gpus"]:
            gpu["memory_bytes"] = size * GB

    return topology


def some(random: Random, draws: Mapping[str, Draw]) -> dict[str, Any]:
    chosen = random.sample(sorted(draws), random.randint(0, len(draws) // 2))
    return {name: draws[name](random) for name in chosen}


def fleet(random: Random, base: Mapping[str, Any]) -> list[Host]:
    """One to three runs of one to three hosts."""
    hosts = []
    for run in range(random.randint(1, 3)):
        total = random.choice(sorted(DIVISORS))
        told = {
            **base,
            "run_config_wandb_api_key": "0123456789",
            **some(random, OF_A_RUN),
            "run_config_total_steps": total,
            "run_config_save_every": random.choice(DIVISORS[total]),
        }
        members, shared = random.randint(1, 3), machine(random)
        for rank in range(members):
            own = {"training_run": f"run{run}"} if members > 1 else {}
            drawn = some(random, OF_A_HOST)
            if drawn.get("conda_env_python") == "3.11":
                drawn["conda_env_lock"] = ""  # the role's lock is of 3.10
            hosts.append(Host(f"r{run}n{rank}", {**told, **own, **drawn}, shared))
    return hosts
