"""Contradictions between variables of one host. Roles judge what needs the host, the data or the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..findings.finding import Finding, finding
from . import places

NO_PARQUET = tuple(f".{form}" for form in ("csv", "tsv", "json", "jsonl", "xlsx", "arrow", "zip", "gz", "txt"))


def judge(settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Contradictions between variables of one host; missing names are not judged."""
    get = settings.get
    if get("run_config_lr_scheduler") == "cosine" and get("run_config_min_lr", 0) > get("run_config_lr", 1):
        given, most = (
            f"run_config_min_lr: {get('run_config_min_lr'):g}",
            f"at most run_config_lr ({get('run_config_lr'):g})",
        )
        yield finding("VARIABLE_INVALID", variable="run_config_min_lr", found=given, expected=most)
    if get("run_config_ce_weight") == 0 and get("run_config_mse_weight") == 0:
        given = "run_config_ce_weight and run_config_mse_weight are both 0"
        yield finding("VARIABLE_INVALID", variable="run_config_ce_weight", found=given, expected="one of them above 0")
    if get("training_peer_port", 0) == get("run_config_master_port", 1):
        given = f"training_peer_port: {get('training_peer_port')}, the same as run_config_master_port"
        yield finding("VARIABLE_INVALID", variable="training_peer_port", found=given, expected="a port of its own")
    for kind in ("train", "test"):
        given = str(get(f"dataset_{kind}", ""))
        if given.lower().endswith(NO_PARQUET):
            yield finding("DATASET_NOT_PARQUET", variable=f"dataset_{kind}", found=given, expected="a file in parquet")
    yield from _profile(settings)
    yield from places.judge(places.named(settings))


def _profile(settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Contradictions to training_profile and run_config_optimizer."""
    profile, optimizer = settings.get("training_profile"), settings.get("run_config_optimizer")
    if profile == "lora" and settings.get("run_config_ema", 0) != 0:
        given, expected = f"run_config_ema: {settings['run_config_ema']:g}", "0, since adapters have no EMA copy"
        yield finding("VARIABLE_INVALID", variable="run_config_ema", found=given, expected=expected)
    if profile == "full" and optimizer == "adamw_8bit" and settings.get("run_config_cpu_offload"):
        given, expected = "adamw_8bit with run_config_cpu_offload", "adamw or adamw_fused, which compute on the host"
        yield finding("VARIABLE_INVALID", variable="run_config_optimizer", found=given, expected=expected)
