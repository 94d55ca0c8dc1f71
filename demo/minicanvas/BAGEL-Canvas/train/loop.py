"""The steps: losses over all ranks, one optimizer step, one log line, one save."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import torch
import torch.distributed as dist
from data.packing import Batch
from modeling.autoencoder import Autoencoder
from modeling.sequence import batch_tensors
from modeling.tokenizer import Tokenizer
from torch import nn

from train import adapters, checkpoints
from train.arguments import TrainingArguments
from train.flat import FlatModel, Mesh, follow


@dataclass
class Trainer:
    """What a step needs. `average` is the model whose parameters follow the trained ones slowly."""

    args: TrainingArguments
    logger: logging.Logger
    mesh: Mesh
    model: nn.Module
    average: nn.Module | None  # none with lora
    flat: FlatModel
    flat_average: FlatModel | None
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    tokens: Tokenizer
    coder: Autoencoder
    data_status: dict[str, dict[int, list[int]]]
    wandb: Any = None
    base: str = ""  # the model folder, whose weights adapters stand beside
    since: float = field(default_factory=monotonic)

    def run(self, batches: Any, first_step: int) -> None:
        """Steps first_step … total_steps inclusive; what was not saved when the last one is done is lost."""
        args = self.args
        self.logger.info(f"Training for {args.total_steps} steps, starting at {first_step}...")
        for step, batch in enumerate(batches, start=first_step):
            if step > args.total_steps:
                self.logger.info(f"Reached total_steps ({args.total_steps}), stopping training.")
                break
            losses = self.learn(batch)
            if self.args.lora and step - first_step == 20:
                adapters.moved(self.model, self.logger)
            if step % args.log_every == 0:
                self.report(step, losses)
            for dataset, worker, position in batch.indexes:
                self.data_status.setdefault(dataset, {})[worker] = position
            if step > 0 and step % args.save_every == 0:
                self.save(step)

    def learn(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One step. Losses are means over the tokens of all ranks, as this rank's part of them times the ranks."""
        self.flat.gradient.zero_()
        samples = batch_tensors(batch.samples, self.tokens, self.coder, self.args.timestep_shift)
        parts = [self.model(sample) for sample in samples]
        counts = torch.tensor([sum(len(part[kind]) for part in parts) for kind in (0, 1)], dtype=torch.float)
        dist.all_reduce(counts)
        world = dist.get_world_size()
        ce = sum((part[0].sum() for part in parts), torch.zeros(())) * world / counts[0].clamp(min=1)
        mse = sum((part[1].mean(-1).sum() for part in parts), torch.zeros(())) * world / counts[1].clamp(min=1)
        (ce * self.args.ce_weight + mse * self.args.mse_weight).backward()
        self.norm = self.flat.average_gradients(self.args.max_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.flat.gather()
        if self.flat_average is not None:
            follow(self.flat_average.values, self.flat.values, self.args.ema)
        return {"ce": ce.detach(), "mse": mse.detach()}

    def report(self, step: int, losses: dict[str, torch.Tensor]) -> None:
        values = torch.stack(list(losses.values()))
        dist.all_reduce(values)
        means = dict(zip(losses, (values / dist.get_world_size()).tolist(), strict=True))
        speed = self.args.log_every / (monotonic() - self.since)
        shown = "".join(f"Train Loss {name}: {value:.4f}, " for name, value in means.items())
        self.logger.info(f"(step={step:07d}) {shown}Train Steps/Sec: {speed:.2f}, ")
        if self.wandb is not None:
            self.wandb.log({**means, "lr": self.scheduler.get_last_lr()[0], "total_norm": self.norm}, step=step)
        self.since = monotonic()

    def save(self, step: int) -> None:
        dist.barrier()
        self.logger.info(f"Saving checkpoint at step {step}...")
        first = dist.get_rank() == 0
        status: list[Any] | None = [None] * dist.get_world_size() if first else None
        dist.gather_object(self.data_status, status)
        folder = os.path.join(self.args.checkpoint_dir, f"{step:07d}")
        if self.average is None:
            states = {"optimizer.00000-of-00001.pt": self.optimizer.state_dict()}
            states |= {"scheduler.pt": self.scheduler.state_dict(), "data_status.pt": status}
            adapters.save(folder, self.base, self.args, self.model, states, self.logger)
        else:
            checkpoints.save(
                folder, self.mesh, self.average, self.model, self.optimizer, self.scheduler, status, self.logger
            )
        if self.args.del_previous_state and first:
            checkpoints.forget_states(self.args.checkpoint_dir, step, self.logger)
        dist.barrier()
