"""The tiny model, a few rows at a time, in numpy: for single rows torch spends ten times as long on its calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from modeling.bagel import Bagel
from modeling.shapes import MARKED, SLOWEST, TIME_FEATURES

Array = Any  # of float32


class Memory:
    """Keys and values of the rows so far, by layer, and the position of the next row."""

    def __init__(self, layers: int) -> None:
        self.kept: list[tuple[Array, Array] | None] = [None] * layers
        self.position = 0

    def copy(self) -> Memory:
        """Its own from here on: what is kept is never changed, only replaced."""
        other = Memory(0)
        other.kept, other.position = list(self.kept), self.position
        return other


def marks(positions: Array, width: int, slowest: float = SLOWEST) -> Array:
    """Sines and cosines of positions (or times), one row each, as modeling/canvas.py has them."""
    speeds = np.exp(np.arange(width // 2, dtype=np.float32) * np.float32(-np.log(slowest) / (width // 2)))
    angles = positions.astype(np.float32)[:, None] * speeds
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _bent(x: Array) -> Array:
    """GELU by its tanh approximation."""
    return 0.5 * x * (1.0 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)))


class Rows:
    """The weights of a model as arrays, and what they make of rows."""

    def __init__(self, model: Bagel) -> None:
        self._held = {name: value.detach().float().numpy() for name, value in model.state_dict().items()}
        self.layers = len(model.language_model.model.layers)
        self._heads = model.config.llm_config.num_attention_heads
        self._width = model.width

    def linear(self, name: str, x: Array) -> Array:
        return x @ self._held[f"{name}.weight"].T + self._held[f"{name}.bias"]

    def _norm(self, name: str, x: Array) -> Array:
        return self._held[f"{name}.weight"] * x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-6))

    def passed(self, rows: Array, memory: Memory, causal: bool, keep: bool) -> Array:
        """Hidden states of further rows; each sees all that is kept, and of the further ones those before it or all."""
        x = rows + marks(np.arange(memory.position, memory.position + len(rows)), self._width) * np.float32(MARKED)
        for number in range(self.layers):
            x = self._through(f"language_model.model.layers.{number}", number, x, memory, causal, keep)
        if keep:
            memory.position += len(rows)
        return self._norm("language_model.model.norm", x)

    def _through(self, name: str, number: int, x: Array, memory: Memory, causal: bool, keep: bool) -> Array:
        count, kept = len(x), memory.kept[number]
        given = self.linear(f"{name}.self_attn.qkv_proj", self._norm(f"{name}.input_layernorm", x))
        query, key, value = given.reshape(count, 3, self._heads, -1).transpose(1, 2, 0, 3)
        if kept is not None:
            key, value = np.concatenate([kept[0], key], axis=1), np.concatenate([kept[1], value], axis=1)
        if keep:
            memory.kept[number] = (key, value)
        weights = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[-1]))
        if causal and count > 1:
            weights[:, :, -count:] += np.triu(np.full((count, count), -np.inf, dtype=np.float32), 1)
        weights = np.exp(weights - weights.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ value
        x = x + self.linear(f"{name}.self_attn.o_proj", mixed.transpose(1, 0, 2).reshape(count, -1))
        inner = _bent(self.linear(f"{name}.mlp.up_proj", self._norm(f"{name}.post_attention_layernorm", x)))
        return x + self.linear(f"{name}.mlp.down_proj", inner)

    def of_text(self, ids: list[int]) -> Array:
        return self._held["language_model.model.embed_tokens.weight"][ids]

    def of_picture(self, inner: Array, ends: tuple[int, int]) -> Array:
        """A picture's patches between the two tokens that enclose it."""
        outer = self.of_text(list(ends))
        return np.concatenate([outer[:1], inner, outer[1:]])

    def seen(self, patches: Array) -> Array:
        """Of a picture as it is looked at: patches (PATCHES, pixels)."""
        looked = self.linear("vit_model.patch_embedding", patches)
        known = self.linear("connector.second", _bent(self.linear("connector.first", looked)))
        return known + self._held["vit_pos_embed.pos_embed"]

    def drawn(self, latents: Array, time: float) -> Array:
        """Of a picture as it is drawn: latents (PATCHES, LATENT) at a time between 0 (picture) and 1 (noise)."""
        at = marks(np.array([time * 1000.0]), TIME_FEATURES)
        at = self.linear("time_embedder.second", _bent(self.linear("time_embedder.first", at)))
        return self.linear("vae2llm", latents) + at + self._held["latent_pos_embed.pos_embed"]


def array(value: torch.Tensor) -> Array:
    return value.float().numpy()
