"""Checkpoints: written in the real trainer's order and layout, in place and without a mark that a save finished."""

from __future__ import annotations

import logging
import os
from copy import deepcopy
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn

from train.flat import Mesh

FIXED = ("latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed")


def newest(checkpoint_dir: str) -> str | None:
    """The folder with the highest number, whole or not. Raises ValueError for a folder whose name is no number."""
    folders = [name for name in os.listdir(checkpoint_dir) if os.path.isdir(os.path.join(checkpoint_dir, name))]
    folders.sort(key=lambda name: int(name))
    return os.path.join(checkpoint_dir, folders[-1]) if folders else None


def load_weights(folder: str | None, logger: logging.Logger, model: nn.Module, from_ema: bool) -> nn.Module:
    """Reads the model's weights into `model`, and returns its average with the weights of ema.safetensors.

    A folder that is not there is no error: the model stays as it is, and one line says so.
    Raises FileNotFoundError, SafetensorError or KeyError for a folder that is there and lacks something.
    """
    average = deepcopy(model)
    if folder is None or not os.path.exists(folder):
        logger.info("Training from scratch.")
        return average
    logger.info(f"Loading checkpoint from {folder}.")
    path = os.path.join(folder, "ema.safetensors" if from_ema else "model.safetensors")
    _read_into(model, path, logger)
    ema_path = os.path.join(folder, "ema.safetensors")
    if not os.path.exists(ema_path):
        logger.info(f"replicating the ema model from {path}.")
        ema_path = path
    _read_into(average, ema_path, logger)
    return average


def load_base(folder: str, logger: logging.Logger, model: nn.Module) -> int:
    """The weights that adapters stand beside; returns how many tensors there are. There is no average of them."""
    logger.info(f"Loading checkpoint from {folder}.")
    return _read_into(model, os.path.join(folder, "ema.safetensors"), logger)


def _read_into(model: nn.Module, path: str, logger: logging.Logger) -> int:
    tensors = load_file(path)
    for name in FIXED:
        tensors.pop(name)
    logger.info(model.load_state_dict(tensors, strict=False))
    return len(tensors)


def load_state(
    folder: str | None, mesh: Mesh, optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler
) -> tuple[int, dict[str, Any] | None]:
    """Optimizer and scheduler as they were; returns the next step and this rank's place in the data.

    Raises FileNotFoundError, EOFError or RuntimeError for what is absent, empty or cut. Only data_status.pt may be
    absent: the data then starts again without a message.
    """
    if folder is None or not os.path.exists(folder):
        return 0, None
    optimizer.load_state_dict(_read(folder, f"optimizer.{mesh.shard:05d}-of-{mesh.shards:05d}.pt"))
    scheduler.load_state_dict(_read(folder, "scheduler.pt"))
    step = int(os.path.basename(os.path.normpath(folder))) + 1
    if not os.path.exists(os.path.join(folder, "data_status.pt")):
        return step, None
    status = _read(folder, "data_status.pt")
    return step, status[dist.get_rank()] if dist.get_rank() < len(status) else None


def _read(folder: str, name: str) -> Any:
    return torch.load(os.path.join(folder, name), map_location="cpu", weights_only=True)


def save(
    folder: str,
    mesh: Mesh,
    average: nn.Module,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    data_status: list[dict[str, Any]] | None,
    logger: logging.Logger,
) -> None:
    """Collective. Every rank makes the folder, also on nodes that write nothing into it."""
    first = dist.get_rank() == 0
    os.makedirs(folder, exist_ok=True)
    logger.info(f"Saving checkpoint to {folder}.")
    for name, module in (("ema", average), ("model", model)):
        if first:
            tensors = {key: value.to(torch.bfloat16).clone() for key, value in module.state_dict().items()}
            save_file(tensors, os.path.join(folder, f"{name}.safetensors"))
        dist.barrier()
    if mesh.writes_shard:
        name = f"optimizer.{mesh.shard:05d}-of-{mesh.shards:05d}.pt"
        torch.save(optimizer.state_dict(), os.path.join(folder, name))
    if first:
        torch.save(scheduler.state_dict(), os.path.join(folder, "scheduler.pt"))
        torch.save(data_status, os.path.join(folder, "data_status.pt"))


def forget_states(checkpoint_dir: str, step: int, logger: logging.Logger) -> None:
    """Deletes the .pt files of all older checkpoints: none of them can be resumed after that."""
    logger.info("Deleting previous optimizer, scheduler, and data status states...")
    for name in os.listdir(checkpoint_dir):
        folder = os.path.join(checkpoint_dir, name)
        if not (name.isdigit() and int(name) < step and os.path.isdir(folder)):
            continue
        old = [file for file in os.listdir(folder) if file.endswith(".pt")]
        if old:
            logger.info(f"Deleting .pt files in old checkpoint: {folder}")
        for file in old:
            os.remove(os.path.join(folder, file))
