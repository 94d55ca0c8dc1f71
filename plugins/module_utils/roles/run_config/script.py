"""What the trainer is told: settings and the topology of the run become the script that is run and the loader's yaml.

Pure. Everything that is decided here is decided once: the unit and a user at the keyboard run the same file.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from ...core.errors import FleetError
from ...core.role_plan import Topology
from ...core.version import VERSION
from ...trainer.flags import KNOWN, text, typed

# The guide's order, with the flags that it lacks beside those that they complete.
ORDER = (
    "dataset_config_file",
    "results_dir",
    "checkpoint_dir",
    "model_path",
    "num_replicate",
    "num_shard",
    "layer_module",
    "max_latent_size",
    "timestep_shift",
    "use_flex",
    "finetune_from_hf",
    "auto_resume",
    "resume_from",
    "resume_model_only",
    "finetune_from_ema",
    "log_every",
    "save_every",
    "del_previous_state",
    "lr",
    "lr_scheduler",
    "min_lr",
    "ce_weight",
    "mse_weight",
    "warmup_steps",
    "total_steps",
    "ema",
    "cpu_offload",
    "num_workers",
    "expected_num_tokens",
    "max_num_tokens",
    "max_num_tokens_per_sample",
    "prefer_buffer_before",
    "text_cond_dropout_prob",
    "vit_cond_dropout_prob",
    "vae_cond_dropout_prob",
    "debug_batches",
    "enable_wandb",
    "wandb_name",
    "wandb_runid",
)
CACHE = ".cache"  # in the results' folder: what torch compiles
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def topology_of(raw: Mapping[str, Any]) -> Topology:
    """The topology from `fleet_plan.topology` (Topology.as_dict); derived counts in it are ignored."""
    return Topology(
        run=str(raw["run"]),
        hosts=tuple(str(host) for host in raw["hosts"]),
        node_rank=int(raw["node_rank"]),
        nproc_per_node=int(raw["nproc_per_node"]),
        num_workers=int(raw["num_workers"]),
        master_addr=str(raw["master_addr"]),
        master_port=int(raw["master_port"]),
    )


def flags(settings: Mapping[str, Any], topology: Topology) -> dict[str, str]:
    """Flag to value, both as on the command line, in the guide's order; extra flags follow, sorted.

    Raises FleetError for a value of the wrong type, an unknown extra flag, or one that has a variable of its own.
    """
    raw: dict[str, Any] = {name: settings.get(f"run_config_{name}") for name in ORDER}
    raw["dataset_config_file"] = settings["run_config_yaml"]
    raw["results_dir"], raw["checkpoint_dir"] = settings["training_results_dir"], settings["training_checkpoint_dir"]
    raw["model_path"] = settings["weights_dir"]
    raw["num_workers"] = topology.num_workers
    raw["num_shard"] = raw["num_shard"] or topology.num_shard
    raw["num_replicate"] = raw["num_replicate"] or topology.num_replicate
    told = {name: text(typed(name, value)) for name, value in raw.items() if name != "resume_from" or value}
    for name, value in sorted({**profile_flags(settings), **extra_flags(settings)}.items()):
        told[name] = text(typed(name, value, "run_config_extra_flags"))
    return told


def profile_flags(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What training_profile adds; --ema follows it through the default of run_config_ema."""
    return {"freeze_llm": True, "freeze_vit": True} if settings.get("training_profile") == "frozen" else {}


def extra_flags(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The user's further flags. Raises FleetError for those that the trainer's parser or the script cannot take."""
    extra = dict(settings.get("run_config_extra_flags") or {})
    for name in extra:
        if name in ORDER:
            variable = f"run_config_{name}"
            raise FleetError(
                f"--{name} would be given twice",
                variable="run_config_extra_flags",
                found=name,
                expected=f"flags without a variable of their own; this one is {variable}",
            )
    unknown = unknown_flags(settings)
    if unknown:
        raise FleetError(
            "the trainer's parser does not know the flag",
            variable="run_config_extra_flags",
            found=", ".join(unknown),
            expected="a flag of train/pretrain_unified_navit.py",
        )
    return extra


def unknown_flags(settings: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in (settings.get("run_config_extra_flags") or {}) if name not in KNOWN)


def torchrun(topology: Topology) -> list[str]:
    """torchrun's own part. One node talks to itself by name, so that it also runs without any network."""
    addr = topology.master_addr if topology.nnodes > 1 else "localhost"
    return [
        f"--nnodes={topology.nnodes} --node_rank={topology.node_rank}"
        f" --master_addr={shlex.quote(addr)} --master_port={topology.master_port}",
        f"--nproc_per_node={topology.nproc_per_node}",
        "-m train.pretrain_unified_navit",
    ]


def argv(settings: Mapping[str, Any], topology: Topology) -> list[str]:
    """The whole command as a list, as a process would get it."""
    words = ["torchrun", *shlex.split(" ".join(torchrun(topology)))]
    for name, value in flags(settings, topology).items():
        words += [f"--{name}", value]
    return words


def wandb_enabled(settings: Mapping[str, Any]) -> bool:
    return bool(typed("enable_wandb", settings["run_config_enable_wandb"]))


def script(settings: Mapping[str, Any], topology: Topology) -> str:
    """The train script: by hand `bash <script>`, or by the unit; the environment is made inside."""
    results = str(settings["training_results_dir"])
    lines = ["#!/bin/bash", *header(settings), *_about(settings, topology), "set -euo pipefail", ""]
    lines += _environment(settings, results)
    lines += ["", f"mkdir -p {shlex.quote(results)} {shlex.quote(str(settings['training_checkpoint_dir']))}"]
    lines += [f"cd {shlex.quote(str(settings['canvas_code_dir']))}", ""]
    told = [f"--{name} {shlex.quote(value)}" for name, value in flags(settings, topology).items()]
    lines.append(" \\\n  ".join(["exec torchrun", *torchrun(topology), *told]))
    return "\n".join(lines) + "\n"


def header(settings: Mapping[str, Any]) -> list[str]:
    """Who wrote the file, and for which code. No time of day: the same settings give the same bytes."""
    copied = settings.get("canvas_code_source") == "controller"
    code = "a folder of the controller" if copied else settings["canvas_code_commit"]
    return [
        f"# Managed by canvas-fleet {VERSION} (role run_config); set run_config_* in the inventory, do not edit here.",
        f"# For BAGEL-Canvas at {code}",
    ]


def _about(settings: Mapping[str, Any], topology: Topology) -> list[str]:
    where = f"node {topology.node_rank} of {topology.nnodes}, {topology.nproc_per_node} processes on each"
    script_path = shlex.quote(str(settings["run_config_script"]))
    return [
        f"# Run {topology.run}: {where}.",
        f"# By hand: sudo -u {settings['fleet_user']} bash {script_path}   (stop the unit first)",
    ]


def _environment(settings: Mapping[str, Any], results: str) -> list[str]:
    lines = _paths(settings)
    # The compile caches need a writable folder on an exec file system, and a service has no HOME.
    cache = f"{results}/{CACHE}"
    own = {
        "XDG_CACHE_HOME": cache,
        "TRITON_CACHE_DIR": f"{cache}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
        "PYTHONUNBUFFERED": "1",
    }
    if settings["nvidia_gpu_expected"]:
        # Batches of other sizes leave holes in the allocator's reserve: 38 GB for 29 in use with BAGEL, 31 with this.
        own["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    if wandb_enabled(settings):
        own.update({"WANDB_DIR": results, "WANDB_CONFIG_DIR": f"{cache}/wandb"})
    given = {str(name): str(value) for name, value in (settings.get("run_config_env") or {}).items()}
    for name in given:
        if not _NAME.fullmatch(name) or name == "WANDB_API_KEY":
            raise FleetError(
                "this cannot be exported by the script",
                variable="run_config_env",
                found=name,
                expected="names of environment variables; the W&B key goes into run_config_wandb_api_key",
            )
    own.update(given)
    lines += [f"export {name}={shlex.quote(value)}" for name, value in own.items()]
    return lines + (_wandb_key(settings) if wandb_enabled(settings) else [])


def _paths(settings: Mapping[str, Any]) -> list[str]:
    prefix = str(settings["conda_env_prefix"])
    cuda = str(settings["nvidia_cuda_home"]) if settings["nvidia_gpu_expected"] else ""
    lines = []
    if prefix:
        lines += [f"export CONDA_PREFIX={shlex.quote(prefix)}", 'export PATH="$CONDA_PREFIX/bin:$PATH"']
    if cuda:
        lines += [
            f"export CUDA_HOME={shlex.quote(cuda)}",
            'export PATH="$CUDA_HOME/bin:$PATH"',
            'export LD_LIBRARY_PATH="$CUDA_HOME/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"',
        ]
    return lines


def _wandb_key(settings: Mapping[str, Any]) -> list[str]:
    """The key comes from systemd's credential, else from the file that only fleet_user can read; never from here."""
    return [
        "",
        f"key_file={shlex.quote(str(settings['run_config_wandb_key_file']))}",
        'if [ -r "${CREDENTIALS_DIRECTORY:-/nonexistent}/wandb_api_key" ]; then',
        '  key_file="$CREDENTIALS_DIRECTORY/wandb_api_key"',
        "fi",
        'if [ -r "$key_file" ]; then',
        '  WANDB_API_KEY="$(cat "$key_file")"',
        "  export WANDB_API_KEY",
        "fi",
    ]


def loader_yaml(settings: Mapping[str, Any]) -> str:
    """The dataset yaml in the form that PackedDataset.build_datasets reads (data/dataset_base.py, cc48f16)."""
    edges = [int(settings.get(f"dataset_{edge}_image_size") or 512) for edge in ("max", "min")]  # pixels
    lines = [*header(settings), f"{_scalar(str(settings['dataset_group']))}:"]
    lines += ["  dataset_names:", f"  - {_scalar(str(settings['dataset_name']))}"]
    for key, stride in (("image_transform_args", 16), ("vit_image_transform_args", 14)):
        lines += [f"  {key}:", f"    image_stride: {stride}"]
        lines += [f"    max_image_size: {edges[0]}", f"    min_image_size: {edges[1]}"]
    lines += ["  is_mandatory: true", "  num_used_data:", "  - 1", "  weight: 1.0"]
    return "\n".join(lines) + "\n"


def _scalar(word: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", word)
    reserved = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    if plain and word.lower() not in reserved:
        return word
    # JSON writes letters beyond the 16-bit plane as two halves, which YAML reads as two letters.
    letters = (f"\\U{ord(one):08x}" if ord(one) > 0xFFFF else json.dumps(one)[1:-1] for one in word)
    return f'"{"".join(letters)}"'


def entry(settings: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """What DATASET_INFO[group][name] must be; `rows` is the number of rows of the training file."""
    return {
        "data_dir": str(settings["dataset_train_dir"]),
        "num_files": 1,
        "parquet_info_path": str(settings["dataset_info_path"]),
        "num_total_samples": rows,
    }


def render(settings: Mapping[str, Any], topology: Topology) -> dict[str, tuple[str, int]]:
    """Path on the host to (text, mode). Raises FleetError for settings that the trainer could not be told."""
    return {
        str(settings["run_config_script"]): (script(settings, topology), 0o755),
        str(settings["run_config_yaml"]): (loader_yaml(settings), 0o644),
    }
