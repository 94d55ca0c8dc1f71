"""The flags that the trainer's parser knows, with the type that it parses each one to.

HfArgumentParser over ModelArguments, DataArguments and TrainingArguments of train/pretrain_unified_navit.py,
MathCanvas cc48f16. A flag that is not here ends the trainer with exit code 2 before anything is loaded.
"""

from __future__ import annotations

import re
from typing import Any, Union

from ..core.errors import FleetError

Value = Union[bool, int, float, str]

_TYPES = {
    "str": "model_path llm_path layer_module vae_path vit_path connector_act dataset_config_file results_dir"
    " checkpoint_dir wandb_project wandb_name wandb_runid wandb_resume resume_from lr_scheduler sharding_strategy"
    " backward_prefetch",
    "bool": "llm_qk_norm tie_word_embeddings interpolate_pos vit_rope visual_gen visual_und enable_wandb wandb_offline"
    " del_previous_state auto_resume resume_model_only finetune_from_ema finetune_from_hf ce_loss_reweighting"
    " cpu_offload freeze_llm freeze_vit freeze_vae freeze_und copy_init_moe use_flex",
    # max_grad_norm is declared int although its default is 1.0: "--max_grad_norm 0.5" is refused by the parser
    "int": "max_latent_size latent_patch_size vit_patch_size vit_max_num_patch_per_side vit_select_layer"
    " prefetch_factor num_workers max_num_tokens_per_sample max_num_tokens prefer_buffer_before max_buffer_size"
    " data_seed global_seed log_every save_every total_steps warmup_steps max_grad_norm expected_num_tokens"
    " num_replicate num_shard debug_batches",
    "float": "text_cond_dropout_prob vit_cond_dropout_prob vae_cond_dropout_prob lr min_lr beta1 beta2 eps ema"
    " timestep_shift mse_weight ce_weight",
}
KNOWN: dict[str, str] = {flag: kind for kind, names in _TYPES.items() for flag in names.split()}
# Those that our patches add (patch_lora.py, patch_optimizer.py), and the variable of each.
OURS: dict[str, tuple[str, str]] = {
    "fleet_lora_rank": ("int", "training_lora_rank"),
    "fleet_lora_alpha": ("float", "training_lora_alpha"),
    "fleet_lora_dropout": ("float", "training_lora_dropout"),
    "fleet_lora_targets": ("str", "training_lora_targets"),
    "fleet_lora_connectors": ("bool", "training_lora_connectors"),
    "fleet_optimizer": ("str", "run_config_optimizer"),
}

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def typed(flag: str, value: Any, variable: str = "") -> Value:
    """The value as the trainer's parser will read it. Raises FleetError for one that it would refuse or misread."""
    kind, own = OURS[flag] if flag in OURS else (KNOWN[flag], f"run_config_{flag}")
    try:
        return _convert(kind, value)
    except (TypeError, ValueError) as error:
        raise FleetError(
            f"the value of --{flag} cannot be read",
            variable=variable or own,
            found=repr(value),
            expected=kind,
        ) from error


def _convert(kind: str, value: Any) -> Value:
    if kind == "bool":
        return _boolean(value)
    if isinstance(value, (bool, list, dict)) or value is None:
        raise TypeError(kind)
    if kind == "int":
        if isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        return int(value)
    return float(value) if kind == "float" else str(value)


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(value)
    return word in _TRUE


def truth(value: Any) -> bool:
    """A boolean flag's value, False where it is none: for a look at flags that are judged elsewhere."""
    try:
        return _boolean(value)
    except ValueError:
        return False


def text(value: Value) -> str:
    """The value on the command line: True and False as in the guide, 1e-5 for 1e-05."""
    return re.sub(r"e([+-])0+(?=\d)", r"e\1", repr(value)) if isinstance(value, float) else str(value)
