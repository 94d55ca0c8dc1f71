"""Inventories that are wrong in one variable: made from the argument specs, so that a new variable is mutated too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.plan.settings import Option
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

TYPES: dict[str, list[Any]] = {
    "int": ["many", "", None, [1], {"a": 1}, 1.5, True, -7, 10**20, "0x10", "nan", "{{ nope }}"],
    "float": ["fast", "", None, [0.1], {"a": 1}, True, -0.5, "nan", "inf", "1,5", "{{ nope }}"],
    "bool": ["maybe", 2, None, [True], {"a": 1}, "", "{{ nope }}"],
    "str": [None, {"a": 1}, ["x"], True, "two\nlines", "a\x00b", "{{ nope }}"],
    "path": ["models/x", "", "~", "~/x", ".", "/", "./x", "../x", None, ["/a"], {"a": 1}, True, "/a\nb", "{{ nope }}"],
    "list of str": [None, {"a": 1}, [None], [""], [["x"]], [{"a": 1}], [True], ["two\nlines"], "{{ nope }}"],
    "list of path": [None, {"a": 1}, ["x"], [""], ["/a", "b"], [["/a"]], "{{ nope }}"],
    "dict": ["x", ["a"], 5, None, True, "{{ nope }}"],
}
SECRETS: list[Any] = [["x"], {"a": 1}, True, "two words", "two\nlines"]
SHA = ["abc", "g" * 64, "a" * 63, "a" * 65]
URLS = ["huggingface.co", "ftp://x/y", "https://a b", "https:/x", "/srv/x y"]
WORDS = ["", "two words", "a/b", "ä", "-x", "x;rm", "$(id)"]

# Forms that are wrong for this variable, though its type is right.
FORMS: dict[str, list[Any]] = {
    "fleet_user": [*WORDS, "Root", "a" * 40],
    "fleet_group": [*WORDS, "Root"],
    "fleet_reconnect_timeout": [0],
    "fleet_address": ["two words", "", "http://10.0.0.1", "host:", "a b"],
    "fleet_pip_index_url": URLS,
    "fleet_plan_format": ["yaml", "JSON"],
    "fleet_agent_packages": [["two words"], ["-r x.txt"]],
    "fleet_agent_apt_packages": [["Git!"], ["a b"]],
    "nvidia_driver_branch": ["", "58", "latest", "580.1", "380"],
    "nvidia_cuda_version": ["", "12", "12.8.1", "cu128", "9.0"],
    "nvidia_reboot": ["always", "Never"],
    "nvidia_reboot_timeout": [0],
    "nvidia_repository_url": ["", *URLS],
    "nvidia_repository_fingerprint": ["abc", "z" * 40],
    "conda_env_root": ["/srv/my conda"],
    "conda_env_name": ["", "a b", "a/b", "../x"],
    "conda_env_python": ["", "3", 3.1, "3.7", "python3.10", "4.0"],
    "conda_env_installer_url": ["", *URLS],
    "conda_env_installer_sha256": SHA,
    "conda_env_channels": [["conda forge"]],
    "conda_env_pip_packages": [["two words"], ["--pre"], ["==2.7"]],
    "conda_env_pip_extra_index_urls": [["x"], ["cu128"]],
    "conda_env_flash_attn": ["latest", "2", "v2.8"],
    "conda_env_imports": [["1x"], ["a-b"], ["import torch"]],
    "canvas_code_source": ["svn", "Git"],
    "canvas_code_repo": ["", "MathCanvas", "github.com/x/y", "https://a b"],
    "canvas_code_commit": ["", "a b", "-x", "main~1"],
    "canvas_code_local_edits": ["drop", "Keep"],
    "dataset_source": ["s3", "Controller", ""],
    "dataset_train": ["", "/nowhere/train.parquet"],
    "dataset_test": ["/nowhere/test.parquet"],
    "dataset_train_sha256": [*SHA, "a" * 64],
    "dataset_test_sha256": [*SHA, "a" * 64],
    "dataset_name": WORDS,
    "dataset_group": WORDS,
    "dataset_train_file": ["/elsewhere/a.parquet", "/srv/blockmoving/BlockMovingSFT/train/a.csv"],
    "dataset_train_dir": ["/srv/blockmoving/BlockMovingSFT/data/output"],
    "weights_repo": ["", "BAGEL", "a/b/c", "a b/c", "https://huggingface.co/a/b"],
    "weights_revision": ["", "a b", "-x"],
    "weights_endpoint": ["", *URLS],
    "weights_files": [["../x"], ["/etc/passwd"], ["a/../../b"]],
    "weights_sha256": [{"ema.safetensors": "abc"}, {"nothing.bin": "a" * 64}],
    "weights_stall_timeout": [0],
    "weights_parameters": [-1],
    "weights_bytes": [0],
    "preflight_accepted_findings": [["GPU_BUSI"], ["gpu_busy"], ["VARIABLE_INVALID"], ["HOST_UNREACHABLE"], ["ALL"]],
    "run_config_processes": [100, 65],
    "run_config_num_shard": [5000, 3, 16],
    "run_config_num_replicate": [5000, 3, 16],
    "run_config_master_addr": ["two words", "http://x"],
    "run_config_master_port": [0, 80, 70_000, 65_536, 1023],
    "run_config_layer_module": ["", "Qwen2", "qwen2motdecoderlayer"],
    "run_config_max_latent_size": [0],
    "run_config_timestep_shift": [0, 5000],
    "run_config_log_every": [0],
    "run_config_save_every": [0, 1531, 5000],
    "run_config_total_steps": [0, 100],
    "run_config_lr": [0, 2.0, 1e-9],
    "run_config_min_lr": [2.0, 1e-3],
    "run_config_lr_scheduler": ["linear", "Cosine"],
    "run_config_ema": [1, 1.5],
    "run_config_num_workers": [0, 65, 64],
    "run_config_expected_num_tokens": [0],
    "run_config_max_num_tokens": [0],
    "run_config_max_num_tokens_per_sample": [0, 4096],
    "run_config_text_cond_dropout_prob": [1.01, 10],
    "run_config_vit_cond_dropout_prob": [1.01],
    "run_config_vae_cond_dropout_prob": [1.01],
    "run_config_debug_batches": [5000],
    "run_config_resume_model_only": [False],
    "run_config_finetune_from_ema": [False],
    "run_config_resume_from": ["", "/srv/nothing/there"],
    "run_config_extra_flags": [{"freeze_vitt": True}, {"lr": 1}, {"freeze_vit": "maybe"}, {"data_seed": "x"}],
    "run_config_env": [{"A B": "1"}, {"1X": "1"}, {"WANDB_API_KEY": "k"}, {"HF_TOKEN": "k"}, {"MY_SECRET": "k"}],
    "run_config_wandb_name": ["", "hf_" + "a" * 30],
    "run_config_wandb_runid": ["", "a b", "a/b"],
    "training_run": ["", "a b", "a/b", "-x", "../x", "ä"],
    "training_unit": ["", "a b", "a/b"],
    "training_state": ["running", "Started"],
    "training_checkpoint_dir": ["/srv/blockmoving/outputs", "/srv/blockmoving"],
    "training_stop_seconds": [0],
    "training_peer_port": [0, 80, 70_000, 29501],
    "training_kept_dir": ["kept", "~/kept"],
    "training_restore_step": [-2],
    "training_fetch_step": [-2],
    "training_fetch": ["weights"],
    "training_logs_lines": [-1],
    "fleet_readers": [["two words"], ["-x"]],
    "nvidia_cuda_home": ["", "cuda", "~/cuda"],
}
# A wrong value may be reported at the variable that it contradicts.
PARTNERS = {
    "run_config_lr": {"run_config_min_lr"},
    "run_config_total_steps": {"run_config_save_every"},
    "dataset_train_sha256": {"dataset_train_sha256"},
    "dataset_source": {"dataset_train", "dataset_repo"},
}


@dataclass(frozen=True)
class Mutation:
    """One wrong variable of one host; any of `blamed` may be named for it."""

    name: str
    variable: str
    value: Any
    blamed: frozenset[str]


def values_of(option: Option) -> list[Any]:
    """Wrong values for this option: of its type, and of its form."""
    if option.secret:
        return SECRETS
    if option.spec.get("choices"):
        return ["", "nonsense", *TYPES["str"], *FORMS.get(option.name, [])]
    return [*TYPES[option.kind], *FORMS.get(option.name, [])]


def wrong_values() -> Iterator[Mutation]:
    for name, option in load_specs().options.items():
        for value in values_of(option):
            blamed = frozenset({name} | PARTNERS.get(name, set()))
            yield Mutation(f"{name}: {value!r}", name, value, blamed)


def misspelt(random: Random) -> Iterator[Mutation]:
    """Each name with a letter lost, doubled, swapped, and in another case."""
    names = load_specs().options
    for name, option in names.items():
        place = random.randrange(1, len(name) - 1)
        tail = random.randrange(len(option.role) + 2, len(name)) if len(name) > len(option.role) + 2 else len(name) - 1
        made = {
            name[:place] + name[place + 1 :],
            name[:tail] + name[tail] + name[tail:],
            name[: tail - 1] + name[tail : tail + 1] + name[tail - 1 : tail] + name[tail + 1 :],
            name + "s",
            f"{option.role}_{name}",
        }
        for wrong in sorted(made - set(names)):
            yield Mutation(f"misspelt {wrong}", wrong, option.spec.get("default") or "x", frozenset({wrong}))
