"""Findings about the settings of the trainer. Pure."""

from __future__ import annotations

from dataclasses import replace

from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from ...machine.fit.choose import FULL_RATE, LORA_RATE
from ...trainer import registration
from ...trainer.average import BASE_SHARE, base_share
from . import script
from .observe import File, Observation, entry

WITHOUT_LOGIN = ("offline", "disabled", "dryrun")  # values of WANDB_MODE


def judge(seen: Observation, settings: Settings, topology: Topology) -> list[Finding]:
    """All findings of the role that need no data."""
    return [
        *_weights(seen, settings),
        *_shards(settings, topology),
        *_saves(settings),
        *_warmup(settings),
        *_ema(settings),
        *_rate(settings),
        *_tokens(settings),
        *_unknown_flags(settings),
        *_debug(settings),
        *_wandb(seen, settings),
        *_template(settings),
        *_yaml(seen.yaml),
        *_registration(seen, settings),
    ]


def _weights(seen: Observation, settings: Settings) -> list[Finding]:
    """The trainer loads the model only when all three are given, and the folder exists (FSDPCheckpoint, cc48f16)."""
    source = str(settings["run_config_resume_from"] or "")
    from_model_folder = source == str(settings["weights_dir"])
    missing = [] if source else ["resume_from"]
    missing += [] if settings["run_config_resume_model_only"] else ["resume_model_only"]
    # A checkpoint folder has a model.safetensors too; the model folder has the EMA alone.
    if (from_model_folder or not source) and not settings["run_config_finetune_from_ema"]:
        missing.append("finetune_from_ema")
    expected = f"--resume_from {settings['weights_dir']} --resume_model_only True --finetune_from_ema True"
    found = [
        finding("WEIGHTS_NOT_ASKED", found=f"not given: {name}", expected=expected, variable=f"run_config_{name}")
        for name in missing
    ]
    if source and not from_model_folder and not seen.resume_from_present:
        variable = "run_config_resume_from"
        found.append(
            finding("RESUME_FROM_MISSING", found=f"no folder {source}", expected="a folder", variable=variable)
        )
    return found


def _shards(settings: Settings, topology: Topology) -> list[Finding]:
    shard = settings["run_config_num_shard"] or topology.num_shard
    replicate = settings["run_config_num_replicate"] or topology.num_replicate
    if shard * replicate == topology.world_size:
        return []
    return [
        finding(
            "SHARDS_MISMATCH",
            found=f"num_replicate {replicate} × num_shard {shard} = {shard * replicate}",
            expected=f"{topology.world_size} = {topology.nnodes} nodes × {topology.nproc_per_node} processes",
            variable="run_config_num_shard" if settings["run_config_num_shard"] else "run_config_num_replicate",
        )
    ]


def _saves(settings: Settings) -> list[Finding]:
    """Saves happen when step > 0 and step % save_every == 0, steps being 0 … total_steps inclusive."""
    total, every = settings["run_config_total_steps"], settings["run_config_save_every"]
    if every < 1 or every > total:
        expected = f"save_every between 1 and total_steps ({total})"
        return [
            finding("NO_SAVE_AT_ALL", found=f"save_every {every}", expected=expected, variable="run_config_save_every")
        ]
    tail = total % every
    if not tail:
        return []
    found = f"save_every {every} ends with step {total - tail}; the last {tail} of {total} steps are lost"
    near = [step for step in range(every, total + 1) if total % step == 0]
    expected = f"a divisor of {total}, such as {near[0]}"
    return [finding("TAIL_STEPS_UNSAVED", found=found, expected=expected, variable="run_config_save_every")]


def _warmup(settings: Settings) -> list[Finding]:
    warmup, total = settings["run_config_warmup_steps"], settings["run_config_total_steps"]
    if warmup < total:
        return []
    found, expected = f"warmup_steps {warmup}", f"less than total_steps ({total})"
    return [finding("WARMUP_NEVER_ENDS", found=found, expected=expected, variable="run_config_warmup_steps")]


def _ema(settings: Settings) -> list[Finding]:
    decay, steps = settings["run_config_ema"], settings["run_config_total_steps"]
    share = base_share(decay, steps)
    if share <= BASE_SHARE:
        return []
    found = f"ema {decay:g} over {steps} steps leaves {share:.0%} of the base model in ema.safetensors"
    expected = f"at most {BASE_SHARE:.0%}"
    return [finding("EMA_TOO_SLOW", found=found, expected=expected, variable="run_config_ema")]


def _rate(settings: Settings) -> list[Finding]:
    rate = settings["run_config_lr"]
    if settings["training_profile"] != "lora" or rate > FULL_RATE:
        return []
    expected = f"about {LORA_RATE:g}"
    return [finding("LORA_RATE_LOW", found=f"lr {rate:g}", expected=expected, variable="run_config_lr")]


def _tokens(settings: Settings) -> list[Finding]:
    """Findings that need no data; the role dataset judges the rest with the longest sample.

    A batch is given out at expected_num_tokens; if the hard limit is not higher, the last sample never fits and is
    dropped, one in each batch.
    """
    limit, expected_tokens = settings["run_config_max_num_tokens"], settings["run_config_expected_num_tokens"]
    if limit > expected_tokens:
        return []
    return [
        finding(
            "PACKING_DROPS_SAMPLES",
            found=f"max_num_tokens {limit} is not above expected_num_tokens {expected_tokens}",
            expected=f"at least expected_num_tokens + the longest sample: {expected_tokens} + up to "
            f"{settings['run_config_max_num_tokens_per_sample']}",
            variable="run_config_max_num_tokens",
        )
    ]


def _unknown_flags(settings: Settings) -> list[Finding]:
    return [
        finding(
            "FLAG_UNKNOWN",
            found=f"--{name}",
            expected="a flag of train/pretrain_unified_navit.py",
            variable="run_config_extra_flags",
        )
        for name in script.unknown_flags(settings)
    ]


def _debug(settings: Settings) -> list[Finding]:
    count = settings["run_config_debug_batches"]
    if count < 1:
        return []
    return [
        finding(
            "DEBUG_BATCHES_PRINT", found=f"debug_batches {count}", expected="0", variable="run_config_debug_batches"
        )
    ]


def _wandb(seen: Observation, settings: Settings) -> list[Finding]:
    """The trainer calls wandb.login() whatever its own --wandb_offline says (cc48f16); only wandb's mode avoids it."""
    if not script.wandb_enabled(settings) or settings["run_config_wandb_api_key"] or seen.key.present:
        return []
    mode = str((settings["run_config_env"] or {}).get("WANDB_MODE", ""))
    if mode.lower() in WITHOUT_LOGIN:
        return []
    found = "W&B is on, and no key is set" + (f"; WANDB_MODE is {mode}" if mode else "")
    expected = "run_config_wandb_api_key, or WANDB_MODE: offline in run_config_env"
    return [finding("WANDB_KEY_MISSING", found=found, expected=expected, variable="run_config_wandb_api_key")]


def _template(settings: Settings) -> list[Finding]:
    path = str(settings.get(script.TEMPLATE) or "")
    expected = "the role's own template, or one with the values of its README"
    return [finding("SCRIPT_TEMPLATE_OWN", found=path, expected=expected, variable=script.TEMPLATE)] if path else []


def _yaml(seen: File) -> list[Finding]:
    """A note, because run_config replaces such a file and keeps a copy."""
    if not seen.present or seen.ours or seen.dialect == "loader":
        return []
    forms = {"guide": "the guide's form", "group": "the form of the user's repository, with a group of its own"}
    form = forms.get(seen.dialect, "no form of the loader")
    note = finding("YAML_DIALECT", found=f"{seen.path}: {form}", expected="a group with dataset_names")
    return [replace(note, severity="note", remedy="no action needed: run_config writes it and keeps this one")]


def _registration(seen: Observation, settings: Settings) -> list[Finding]:
    found = seen.registration
    group, name = settings["dataset_group"], settings["dataset_name"]
    wanted = entry(settings, seen.rows or 0)
    place = f"{found.path}, line {found.line}"
    if found.state == "broken":
        return [finding("REGISTRATION_BROKEN", found=found.error, expected=f"a Python file: {found.path}")]
    if found.state == "dialect":
        expected = ", ".join(registration.KEYS)
        what = sorted(found.entry) if found.entry else "no literal dictionary"
        return [finding("REGISTRATION_DIALECT", found=f"{place}: {group}/{name} has {what}", expected=expected)]
    if found.state == "hand" and not registration.same(found.entry, wanted):
        return [finding("REGISTRATION_BY_HAND", found=f"{place}: {found.entry}", expected=str(wanted))]
    if found.groups is not None and group not in found.groups:
        known = ", ".join(found.groups)
        return [finding("GROUP_UNKNOWN", found=str(group), expected=known, variable="dataset_group")]
    return []
