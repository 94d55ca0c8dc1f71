"""Values of the role's templates, from the settings and the topology of the run.

Pure. The unit and a person run the same file.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from ...core import state
from ...core.errors import FleetError
from ...core.settings import Settings, named
from ...core.topology import Topology
from ...core.version import VERSION
from ...trainer import environment as trainer_environment
from ...trainer import patch_table, registration
from ...trainer.flags import KNOWN, OURS, text, typed
from ...trainer.tokens import IMAGE_EDGE, VAE_STRIDE, VIT_STRIDE
from .texts import Fill, Texts

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
OWN_EXPORTS = ("XDG_CACHE_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "PYTHONUNBUFFERED")
TORCHRUN = ("nnodes", "node_rank", "master_addr", "master_port", "nproc_per_node")
TEMPLATE = "run_config_script_template"
# Values of the templates that are settings as they are: plain texts, since Ansible's own are of a class of their own.
PLACES = {
    "user": "fleet_user",
    "script": "run_config_script",
    "conda_prefix": "conda_env_prefix",
    "cuda_home": "nvidia_cuda_home",
    "canvas_code_dir": "canvas_code_dir",
    "dataset_group": "dataset_group",
    "dataset_name": "dataset_name",
    "dataset_train_dir": "dataset_train_dir",
    "dataset_info_path": "dataset_info_path",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def flags(settings: Settings, topology: Topology) -> dict[str, str]:
    """Flag to value, both as on the command line, in the guide's order; extra flags follow, sorted.

    Raises FleetError for a value of the wrong type, an unknown extra flag, or one that has a variable.
    """
    raw: dict[str, Any] = {name: settings.get(f"run_config_{name}") for name in ORDER}
    raw["dataset_config_file"] = settings["run_config_yaml"]
    raw["results_dir"], raw["checkpoint_dir"] = settings["training_results_dir"], settings["training_checkpoint_dir"]
    raw["model_path"] = settings["weights_dir"]
    raw["num_workers"] = topology.num_workers
    raw["num_shard"] = raw["num_shard"] or topology.num_shard
    raw["num_replicate"] = raw["num_replicate"] or topology.num_replicate
    values = {name: text(typed(name, value)) for name, value in raw.items()}
    extra = extra_flags(settings)
    for group in (profile_flags(settings), extra):  # the user's come last and replace ours
        for name, value in sorted(group.items()):
            values[name] = text(typed(name, value, "run_config_extra_flags" if name in extra else ""))
    return values


def profile_flags(settings: Settings) -> dict[str, Any]:
    """Flags of training_profile and of run_config_optimizer, beyond upstream's own defaults; --ema follows from the
    default of run_config_ema."""
    found: dict[str, Any] = {}
    profile = settings.get("training_profile")
    if profile in ("frozen", "lora"):
        found |= {"freeze_llm": True, "freeze_vit": True}
    if profile == "lora":
        found |= {
            name: named(settings, variable)
            for name, (_unused, variable) in OURS.items()
            if name.startswith("fleet_lora_")
        }
    if patch_table.own_optimizer(settings):
        found["fleet_optimizer"] = settings["run_config_optimizer"]
    return found


def extra_flags(settings: Settings) -> dict[str, Any]:
    """The user's extra flags. Raises FleetError for flags that the trainer's parser or the script cannot take."""
    extra = dict(settings.get("run_config_extra_flags") or {})
    for name in extra:
        if name in ORDER:
            variable = f"run_config_{name}"
            raise FleetError(
                f"--{name} would be given twice",
                variable="run_config_extra_flags",
                found=name,
                expected=f"flags without a variable; set {variable} for this one",
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


def unknown_flags(settings: Settings) -> list[str]:
    return sorted(name for name in (settings.get("run_config_extra_flags") or {}) if name not in KNOWN)


def wandb_enabled(settings: Settings) -> bool:
    return bool(typed("enable_wandb", settings["run_config_enable_wandb"]))


def values(settings: Settings, topology: Topology) -> dict[str, object]:
    """The values of the templates: one flat mapping, described in the role's README.

    Raises FleetError for settings that the trainer cannot take.
    """
    arguments = flags(settings, topology)
    own = {name: arguments.pop(name) for name in ORDER}
    exports = environment(settings)
    places = {name: str(named(settings, setting)) for name, setting in PLACES.items()}
    return {
        **places,
        "version": VERSION,
        "code": _code(settings),
        "run": topology.run,
        "node_rank": topology.node_rank,
        "nnodes": topology.nnodes,
        "nproc_per_node": topology.nproc_per_node,
        # One node talks to itself by name, so that it also runs without any network.
        "master_addr": topology.master_addr if topology.nnodes > 1 else "localhost",
        "master_port": topology.master_port,
        "cuda_home": places["cuda_home"] if settings["nvidia_gpu_expected"] else "",
        "wandb_key_file": state.wandb_key(settings) if wandb_enabled(settings) else "",
        **{name.lower(): exports.pop(name) for name in OWN_EXPORTS},
        "exports": exports,
        **own,
        "extra_flags": arguments,
        "rows": registration.ROWS,
        "vae_stride": VAE_STRIDE,
        "vit_stride": VIT_STRIDE,
        "max_image_size": IMAGE_EDGE,
        "min_image_size": IMAGE_EDGE,
    }


def _code(settings: Settings) -> str:
    copied = settings.get("canvas_code_source") == "controller"
    return "a folder of the controller" if copied else str(settings["canvas_code_commit"])


def environment(settings: Settings) -> dict[str, str]:
    """Exports of the script; the user's come last and replace ours."""
    results = str(settings["training_results_dir"])
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
    given = trainer_environment.given(settings)
    for name in given:
        if not _NAME.fullmatch(name) or name == "WANDB_API_KEY":
            raise FleetError(
                "the script cannot export this",
                variable="run_config_env",
                found=name,
                expected="names of environment variables; the W&B key goes into run_config_wandb_api_key",
            )
    return {**own, **given}


def texts(settings: Settings, topology: Topology, fill: Fill) -> Texts:
    """All texts for the host. Raises FleetError for settings that the trainer cannot take, and for a template that
    differs from the plan."""
    arguments = values(settings, topology)
    return Texts(
        script=_script(settings, arguments, fill),
        yaml=fill("run_config", "blockmoving_sft.yaml.j2", arguments),
        registration=fill("run_config", "dataset_info.py.j2", arguments),
    )


def _script(settings: Settings, arguments: Mapping[str, object], fill: Fill) -> str:
    path = str(settings.get("run_config_script_template") or "")
    try:
        made = fill("run_config", "train_blockmoving.sh.j2", arguments, path)
    except FleetError as error:
        error.variable = TEMPLATE
        raise
    missing = [word for word in _mandatory(arguments) if not re.search(rf"(?<!\S){re.escape(word)}(?!\S)", made)]
    if path and missing:
        raise FleetError(
            "the template lacks what the plan needs",
            variable=TEMPLATE,
            found=f"{path} does not say {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""),
            expected="torchrun with all its options, and each flag with its value in the mapping",
        )
    return made


def _mandatory(arguments: Mapping[str, object]) -> list[str]:
    """Parts of the command line that the plan relies on."""
    options = [f"--{name}={shlex.quote(str(arguments[name]))}" for name in TORCHRUN]
    extra = arguments["extra_flags"]
    further = extra if isinstance(extra, Mapping) else {}
    given = {**{name: arguments[name] for name in ORDER}, **further}
    return [*options, "-m train.pretrain_unified_navit"] + [f"--{n} {shlex.quote(str(v))}" for n, v in given.items()]
