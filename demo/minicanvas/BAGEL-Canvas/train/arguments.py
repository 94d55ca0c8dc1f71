"""The launch flags: the names, types and defaults of the real trainer's three groups, and its way to parse them.

Most flags of a large model mean nothing to the tiny one; they are accepted, checked for their type, and logged.
"""

from __future__ import annotations

import argparse
import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

TRUE, FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


@dataclass
class ModelArguments:
    model_path: str = "hf/BAGEL-7B-MoT"
    llm_path: str = "hf/Qwen2.5-0.5B-Instruct/"
    llm_qk_norm: bool = True
    tie_word_embeddings: bool = False
    layer_module: str = "Qwen2MoTDecoderLayer"
    vae_path: str = "flux/vae/ae.safetensors"
    vit_path: str = "hf/siglip-so400m-14-980-flash-attn2-navit/"
    max_latent_size: int = 32
    latent_patch_size: int = 2
    vit_patch_size: int = 14
    vit_max_num_patch_per_side: int = 70
    connector_act: str = "gelu_pytorch_tanh"
    interpolate_pos: bool = False
    vit_select_layer: int = -2
    vit_rope: bool = False
    text_cond_dropout_prob: float = 0.1
    vit_cond_dropout_prob: float = 0.3
    vae_cond_dropout_prob: float = 0.3


@dataclass
class DataArguments:
    dataset_config_file: str = "data/configs/example.yaml"
    prefetch_factor: int = 2
    num_workers: int = 4
    max_num_tokens_per_sample: int = 16384
    max_num_tokens: int = 36864
    prefer_buffer_before: int = 16384
    max_buffer_size: int = 50
    data_seed: int = 42


@dataclass
class TrainingArguments:
    visual_gen: bool = True
    visual_und: bool = True
    results_dir: str = "results"
    checkpoint_dir: str = "results/checkpoints"
    enable_wandb: bool = True
    wandb_project: str = "bagel"
    wandb_name: str = "run"
    wandb_runid: str = "0"
    wandb_resume: str = "allow"
    wandb_offline: bool = False
    del_previous_state: bool = False
    global_seed: int = 4396
    auto_resume: bool = False
    resume_from: str | None = None
    resume_model_only: bool = False
    finetune_from_ema: bool = False
    finetune_from_hf: bool = False
    log_every: int = 10
    save_every: int = 2000
    total_steps: int = 20000
    warmup_steps: int = 2000
    lr_scheduler: str = "constant"
    lr: float = 1e-4
    min_lr: float = 1e-7
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-15
    ema: float = 0.9999
    max_grad_norm: int = 1.0  # type: ignore[assignment]  # declared so upstream: --max_grad_norm 0.5 is refused
    timestep_shift: float = 1.0
    mse_weight: float = 1.0
    ce_weight: float = 1.0
    ce_loss_reweighting: bool = False
    expected_num_tokens: int = 32768
    num_replicate: int = 1
    num_shard: int = 8
    sharding_strategy: str = "HYBRID_SHARD"
    backward_prefetch: str = "BACKWARD_PRE"
    cpu_offload: bool = False
    freeze_llm: bool = False
    freeze_vit: bool = False
    freeze_vae: bool = True
    freeze_und: bool = False
    copy_init_moe: bool = True
    use_flex: bool = False
    debug_batches: int = 0
    # of canvas-fleet's patches of the real one; a rank makes it training_profile lora
    fleet_lora_rank: int = 0
    fleet_lora_alpha: float = 64.0
    fleet_lora_dropout: float = 0.0
    fleet_lora_targets: str = "all"
    fleet_lora_connectors: bool = True
    fleet_optimizer: str = "adamw"

    @property
    def lora(self) -> bool:
        return self.fleet_lora_rank > 0


GROUPS = (ModelArguments, DataArguments, TrainingArguments)


def truth(text: str) -> bool:
    """True or False as a word. Raises ArgumentTypeError for any other."""
    if text.lower() in TRUE + FALSE:
        return text.lower() in TRUE
    raise argparse.ArgumentTypeError(f"Truthy value expected: got {text} but expected one of {'/'.join(TRUE + FALSE)}")


def _add(parser: argparse.ArgumentParser, name: str, kind: Any, default: Any) -> None:
    spellings = [f"--{name}"] + ([f"--{name.replace('_', '-')}"] if "_" in name else [])
    if kind is bool:
        parser.add_argument(*spellings, type=truth, nargs="?", const=True, default=default)
        if default:
            off = [f"--no_{name}"] + ([f"--no-{name.replace('_', '-')}"] if "_" in name else [])
            parser.add_argument(*off, action="store_false", dest=name)
    else:
        parser.add_argument(*spellings, type=kind if kind in (int, float) else str, default=default)


def parse(argv: list[str]) -> tuple[ModelArguments, DataArguments, TrainingArguments]:
    """The three groups. A value of the wrong type ends the program with 2.

    Raises ValueError for a flag that no group has, naming it.
    """
    parser = argparse.ArgumentParser()
    for group in GROUPS:
        kinds = typing.get_type_hints(group)
        for item in dataclasses.fields(group):
            _add(parser, item.name, kinds[item.name], item.default)
    values, unknown = parser.parse_known_args(argv)
    if unknown:
        raise ValueError(f"Some specified arguments are not used by the HfArgumentParser: {unknown}")
    made = [group(**{f.name: getattr(values, f.name) for f in dataclasses.fields(group)}) for group in GROUPS]
    return typing.cast("tuple[ModelArguments, DataArguments, TrainingArguments]", tuple(made))
