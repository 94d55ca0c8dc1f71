"""Packing of single samples, by the names of the real loader's: for whoever computes losses outside of a training."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from modeling.tokenizer import Tokenizer


@dataclass
class DataConfig:
    grouped_datasets: dict[str, Any] = field(default_factory=dict)
    text_cond_dropout_prob: float = 0.1
    vit_cond_dropout_prob: float = 0.4
    vae_cond_dropout_prob: float = 0.1
    vae_image_downsample: int = 16
    max_latent_size: int = 32
    vit_patch_size: int = 14
    max_num_patch_per_side: int = 70

    def drop(self, kind: str) -> float:
        return {
            "text": self.text_cond_dropout_prob,
            "vit_image": self.vit_cond_dropout_prob,
            "vae_image": self.vae_cond_dropout_prob,
        }[kind]


class PackedDataset:
    """As much of the real one as packs a sample that is given to it."""

    def __init__(
        self,
        data_config: DataConfig,
        tokenizer: Tokenizer,
        special_tokens: dict[str, int],
        local_rank: int,
        world_size: int,
        num_workers: int,
        **_budgets: Any,
    ) -> None:
        if data_config.grouped_datasets:
            raise NotImplementedError("minicanvas packs given samples alone; its training has data/loading.py")
        self.data_config, self.tokenizer = data_config, tokenizer

    def set_sequence_status(self) -> dict[str, list[Any]]:
        return {"samples": [], "sample_lens": [], "packed_timesteps": []}

    def pack_sequence(
        self, sample: dict[str, Any], status: dict[str, list[Any]], force_keep_vit: bool = False
    ) -> dict[str, list[Any]]:
        vit = [place for place, item in enumerate(sample["items"]) if item.kind == "vit_image"]
        kept_anyway = random.choice(vit) if force_keep_vit and vit else -1  # noqa: S311 - what to look at
        items = [
            item
            for place, item in enumerate(sample["items"])
            if place == kept_anyway or not (item.may_drop and self._leaves_out(item.kind))
        ]
        for item in items:
            if item.kind == "vae_image":
                status["packed_timesteps"].append(np.random.randn() if item.loss else float("-inf"))
        status["samples"].append(items)
        status["sample_lens"].append(sum(item.tokens + 2 for item in items))
        return status

    def _leaves_out(self, kind: str) -> bool:
        return random.random() < self.data_config.drop(kind)  # noqa: S311 - what to leave out

    def to_tensor(self, status: dict[str, list[Any]]) -> dict[str, Any]:
        data = {**status, "sequence_length": sum(status["sample_lens"])}
        pictures = [item.pixels for items in status["samples"] for item in items if item.kind == "vae_image"]
        data["padded_images"] = torch.from_numpy(np.stack(pictures)) if pictures else torch.zeros(0)
        data["packed_timesteps"] = torch.tensor(status["packed_timesteps"], dtype=torch.float)
        return data


class Batch:
    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def cuda(self, device: Any) -> Batch:
        self.data = {
            name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in self.data.items()
        }
        return self

    def to_dict(self) -> dict[str, Any]:
        return dict(self.data)


def collate_wrapper() -> Callable[[list[dict[str, Any]]], Batch]:
    return lambda batch: Batch(batch[0])
