"""The model as inference and evaluation know it: the trainer's losses of a packed batch, and rows one after another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional

from modeling.canvas import Canvas, Layer, marks
from modeling.sequence import laid_out, with_noise
from modeling.shapes import PATCHES, TIME_FEATURES
from modeling.tokenizer import Tokenizer


class Bagel(Canvas):
    """`timestep_shift` is the training's, and a training sets it."""

    timestep_shift = 1.0

    def __init__(self, llm: dict[str, Any], vit: dict[str, Any], tokens: Tokenizer) -> None:
        super().__init__(llm, vit)
        self.tokens = tokens
        self.config = SimpleNamespace(
            llm_config=SimpleNamespace(**llm),
            vit_config=SimpleNamespace(patch_size=14),
            vae_config=SimpleNamespace(downsample=8),
            latent_patch_size=2,
            max_latent_size=64,
            vit_max_num_patch_per_side=70,
        )

    def forward(  # type: ignore[override]
        self, samples: list[Any], padded_latent: torch.Tensor, packed_timesteps: torch.Tensor, **_lengths: Any
    ) -> dict[str, torch.Tensor | None]:
        """Losses of each label and of each noisy patch, as the real model's forward pass returns them."""
        ce, mse, seen = [], [], 0
        for items in samples:
            out, pixels, learns = laid_out(items, self.tokens)
            if pixels is not None:
                mine = slice(seen, seen + len(pixels))
                out |= with_noise(padded_latent[mine], learns, packed_timesteps[mine], self.timestep_shift)
                seen += len(pixels)
            out["mse_loss_indexes"] = out["mse_loss_indexes"].long()
            parts = super().forward(out)
            ce.append(parts[0])
            mse.append(parts[1])
        return {"ce": torch.cat(ce), "mse": torch.cat(mse)}


class Memory:
    """Keys and values of the rows so far, by layer, and the position of the next row."""

    def __init__(self, layers: int) -> None:
        self.kept: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * layers
        self.position = 0

    def copy(self) -> Memory:
        """Its own from here on: what is kept is never changed, only replaced."""
        other = Memory(0)
        other.kept, other.position = list(self.kept), self.position
        return other


def passed(model: Canvas, rows: torch.Tensor, memory: Memory, causal: bool, keep: bool) -> torch.Tensor:
    """Hidden states of further rows; each sees all that is kept, and of the further ones those before it or all."""
    count = len(rows)
    before = 0 if memory.kept[0] is None else memory.kept[0][0].shape[1]
    inside = torch.ones(count, count, dtype=torch.bool)
    allowed = torch.cat([torch.ones(count, before, dtype=torch.bool), inside.tril() if causal else inside], dim=1)
    x = rows + marks(torch.arange(memory.position, memory.position + count), model.width) * 0.2
    for number, layer in enumerate(model.language_model.model.layers):
        x = _through(layer, x, memory, number, None if count == 1 else allowed, keep)
    if keep:
        memory.position += count
    return model.language_model.model.norm(x)


def _through(
    layer: Layer, x: torch.Tensor, memory: Memory, number: int, allowed: torch.Tensor | None, keep: bool
) -> torch.Tensor:
    attention, count = layer.self_attn, len(x)
    given = layer.input_layernorm(x)
    query, key, value = attention.qkv_proj(given).view(count, 3, attention.heads, -1).permute(1, 2, 0, 3)
    kept = memory.kept[number]
    if kept is not None:
        key, value = torch.cat([kept[0], key], dim=1), torch.cat([kept[1], value], dim=1)
    if keep:
        memory.kept[number] = (key, value)
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    x = x + attention.o_proj(mixed.transpose(0, 1).reshape(count, -1))
    return x + layer.mlp(layer.post_attention_layernorm(x))


def text_rows(model: Canvas, ids: list[int]) -> torch.Tensor:
    return model.language_model.model.embed_tokens(torch.tensor(ids, dtype=torch.long))


def picture_rows(model: Canvas, inner: torch.Tensor, ends: tuple[int, int]) -> torch.Tensor:
    """Rows of a picture's patches between the two tokens that enclose it."""
    outer = text_rows(model, list(ends))
    return torch.cat([outer[:1], inner, outer[1:]])


def seen_patches(model: Canvas, patches: torch.Tensor) -> torch.Tensor:
    """Of a picture as it is looked at: patches (PATCHES, pixels)."""
    return model.connector(model.vit_model.patch_embedding(patches)) + model.vit_pos_embed.pos_embed


def drawn_patches(model: Canvas, latents: torch.Tensor, time: float) -> torch.Tensor:
    """Of a picture as it is drawn: latents (PATCHES, LATENT) at a time between 0 (picture) and 1 (noise)."""
    at = model.time_embedder(marks(torch.tensor([time * 1000.0]), TIME_FEATURES))
    return model.vae2llm(latents) + at + model.latent_pos_embed.pos_embed


ROWS_OF_A_PICTURE = PATCHES + 2
