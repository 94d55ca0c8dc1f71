"""All trained parameters as one vector: gradients are averaged over all ranks, the optimizer's state is sharded."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from train.arguments import TrainingArguments


class Mesh:
    """This rank's shard of the optimizer, and the other ranks of its replica."""

    def __init__(self, args: TrainingArguments) -> None:
        self.group: dist.ProcessGroup | None = None
        if args.sharding_strategy == "HYBRID_SHARD":
            mesh = init_device_mesh("cpu", (args.num_replicate, args.num_shard), mesh_dim_names=("replicate", "shard"))
            if mesh.get_coordinate() is None:
                raise RuntimeError(f"rank {dist.get_rank()} has no place in a mesh of {mesh.size()} ranks")
            self.group = mesh.get_group("shard")
            self.shards = args.num_shard
        elif args.sharding_strategy == "FULL_SHARD":
            self.shards = dist.get_world_size()
        else:
            raise NotImplementedError(args.sharding_strategy)
        self.shard = dist.get_rank() % self.shards
        self.writes_shard = args.sharding_strategy == "FULL_SHARD" or dist.get_rank() < self.shards
        if args.lora:  # adapters and their optimizer's state are whole on each rank
            self.shards, self.shard, self.writes_shard = 1, 0, dist.get_rank() == 0


class FlatModel:
    """The model's trained parameters as views of one vector, padded to whole shards; the first rank's values win."""

    def __init__(self, model: nn.Module, mesh: Mesh) -> None:
        self.mesh = mesh
        trained = [p for p in model.parameters() if p.requires_grad]
        size = sum(p.numel() for p in trained)
        self.size = -(-size // mesh.shards)  # of one shard
        self.values = torch.zeros(self.size * mesh.shards)
        self.gradient = torch.zeros_like(self.values)
        start = 0
        for parameter in trained:
            end = start + parameter.numel()
            self.values[start:end] = parameter.data.flatten()
            parameter.data = self.values[start:end].view_as(parameter)
            parameter.grad = self.gradient[start:end].view_as(parameter)
            start = end
        dist.broadcast(self.values, 0)
        self.mine = nn.Parameter(self._shard(self.values).clone())

    def _shard(self, vector: torch.Tensor) -> torch.Tensor:
        return vector[self.mesh.shard * self.size : (self.mesh.shard + 1) * self.size]

    def average_gradients(self, max_norm: float) -> float:
        """Over all ranks, then scaled down to the norm. Returns the norm before."""
        dist.all_reduce(self.gradient)
        self.gradient /= dist.get_world_size()
        norm = float(self.gradient.norm())
        if norm > max_norm:
            self.gradient *= max_norm / norm
        self.mine.grad = self._shard(self.gradient)
        return norm

    def gather(self) -> None:
        """After the optimizer's step: every rank's shard goes to all."""
        if self.mesh.shards == 1:
            self.values.copy_(self.mine.data)
        else:
            dist.all_gather(list(self.values.chunk(self.mesh.shards)), self.mine.data, group=self.mesh.group)


def check_uniform(model: nn.Module, args: TrainingArguments) -> None:
    """Raises what the real sharding raises for a partly frozen language model."""
    if args.freeze_llm and not args.lora:
        raise ValueError("Must flatten tensors with uniform `requires_grad` when `use_orig_params=False`")
    if args.freeze_vit:
        for parameter in model.get_submodule("vit_model").parameters():
            parameter.requires_grad = False


@torch.no_grad()
def follow(ema: torch.Tensor, values: torch.Tensor, decay: float) -> None:
    """Moves the average a little towards the values."""
    ema.mul_(decay).add_(values, alpha=1 - decay)
