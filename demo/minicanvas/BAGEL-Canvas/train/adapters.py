"""Adapters beside the frozen base: flags, files and log lines of the trainer as canvas-fleet patches it for lora."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from train.arguments import TrainingArguments

FILE = "adapter.safetensors"
ATTENTION = ("qkv_proj", "o_proj")
TARGETS = {"attention": ATTENTION, "all": (*ATTENTION, "up_proj", "down_proj")}
BASE = ("language_model", "vit_model")  # beside them stand the connectors


class Adapter(nn.Module):
    def __init__(self, base: nn.Linear, args: TrainingArguments, source: torch.Generator) -> None:
        super().__init__()
        rank, bound = args.fleet_lora_rank, base.in_features**-0.5
        self.scale, self.dropout = args.fleet_lora_alpha / rank, args.fleet_lora_dropout
        self.lora_A = nn.Parameter((torch.rand(rank, base.in_features, generator=source) * 2 - 1) * bound)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        given = nn.functional.dropout(given, self.dropout, self.training)
        return given @ self.lora_A.t() @ self.lora_B.t() * self.scale


class AdaptedLinear(nn.Linear):
    adapter: Adapter

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return super().forward(given) + self.adapter(given)


def metadata(args: TrainingArguments, base: str) -> dict[str, str]:
    """What a file of adapters says of itself. `base`: the model folder."""
    with open(os.path.join(base, "ema.safetensors"), "rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    return {
        "rank": str(args.fleet_lora_rank),
        "alpha": str(float(args.fleet_lora_alpha)),
        "targets": args.fleet_lora_targets,
        "connectors": str(args.fleet_lora_connectors).lower(),
        "base_header_sha256": hashlib.sha256(header).hexdigest(),
    }


def check(folder: str | None, base: str, args: TrainingArguments) -> None:
    """Raises RuntimeError for a folder that is neither the base nor holds adapters of this shape."""
    path = os.path.join(folder or "", FILE)
    if not os.path.exists(path):
        if not os.path.exists(folder or "") or not os.path.samefile(folder or "", base):
            raise RuntimeError(f"training_profile lora: {folder} is not {base} and has no {FILE}")
        return
    with safe_open(path, framework="pt") as file:
        held = file.metadata() or {}
    for name, value in metadata(args, base).items():
        if held.get(name) != value:
            raise RuntimeError(f"training_profile lora: {path} has {name} {held.get(name)}, not {value}")


def insert(model: nn.Module, args: TrainingArguments) -> None:
    """Freezes the base and puts the adapters beside it. Its keys stay as they are."""
    model.requires_grad_(False)
    for name, part in model.named_children():
        if args.fleet_lora_connectors and name not in BASE and not name.endswith("_pos_embed"):
            part.requires_grad_(True)
    source = torch.Generator().manual_seed(args.global_seed)
    for name, module in list(model.get_submodule("language_model.model.layers").named_modules()):
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in TARGETS[args.fleet_lora_targets]:
            module.adapter = Adapter(module, args, source)
            module.__class__ = AdaptedLinear


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name.replace(".adapter.", "."): one for name, one in model.named_parameters() if one.requires_grad}


def load(model: nn.Module, folder: str | None, loaded: int, args: TrainingArguments, logger: logging.Logger) -> None:
    """The values of a checkpoint of adapters, if the folder is one. `loaded`: tensors of the base."""
    parameters = trained(model)
    path = os.path.join(folder or "", FILE)
    if os.path.exists(path):
        logger.info(f"Loading checkpoint from {folder}.")
        held = load_file(path)
        if held.keys() != parameters.keys():
            raise RuntimeError(f"training_profile lora: {path} holds other tensors than those that are trained")
        for name, value in held.items():
            parameters[name].data.copy_(value)
        logger.info("<All keys matched successfully>")
    adapters = [one.numel() for name, one in parameters.items() if ".lora_" in name]
    logger.info(
        f"canvas-fleet lora: {len(adapters) // 2} adapters, {sum(adapters)} parameters, "
        f"rank {args.fleet_lora_rank}, base {loaded} tensors loaded"
    )


def moved(model: nn.Module, logger: logging.Logger) -> None:
    squares = [one.detach().square().sum() for name, one in trained(model).items() if name.endswith(".lora_B")]
    logger.info(f"canvas-fleet lora: |B| = {float(torch.stack(squares).sum().sqrt()):.6g}")


def save(
    folder: str, base: str, args: TrainingArguments, model: nn.Module, states: dict[str, Any], logger: logging.Logger
) -> None:
    """A checkpoint without the base; each file gets its name when it is whole. `states`: of the .pt files, in order."""
    os.makedirs(folder, exist_ok=True)
    logger.info(f"Saving checkpoint to {folder}.")
    moved(model, logger)
    if dist.get_rank() != 0:
        return
    tensors = {name: one.detach().clone() for name, one in trained(model).items()}
    said = metadata(args, base)
    write: dict[str, Callable[[str], None]] = {FILE: lambda path: save_file(tensors, path, metadata=said)}
    for name, state in states.items():
        write[name] = lambda path, state=state: torch.save(state, path)  # type: ignore[misc]
    for name, put in write.items():
        path = os.path.join(folder, name)
        put(f"{path}.part")
        os.replace(f"{path}.part", path)
