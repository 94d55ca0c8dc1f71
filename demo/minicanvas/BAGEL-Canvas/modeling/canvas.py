"""The tiny model: one small transformer reads text and pictures, and writes both.

Pictures come in twice (as patches through vit_model, as latents through vae2llm) and go out through llm2vae, which is
trained to tell noise from picture at a random time between the two, as the real one does.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from modeling.shapes import LATENT, MARKED, PATCH, PATCHES, SLOWEST, TIME_FEATURES


def marks(positions: torch.Tensor, width: int, slowest: float = SLOWEST) -> torch.Tensor:
    """Sines and cosines of positions (or times), one row each."""
    speeds = torch.exp(torch.arange(width // 2) * (-math.log(slowest) / (width // 2)))
    angles = positions.float()[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Scaled(nn.Module):
    """Root-mean-square norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.o_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        length, width = x.shape
        query, key, value = self.qkv_proj(x).view(length, 3, self.heads, -1).permute(1, 2, 0, 3).unsqueeze(1)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.o_proj(mixed[0].transpose(0, 1).reshape(length, width))


class TwoLinear(nn.Module):
    """Two linear maps with a bend between them, under the two names that the file gives them."""

    def __init__(self, names: tuple[str, str], fan_in: int, inner: int, fan_out: int) -> None:
        super().__init__()
        self.names = names
        self.add_module(names[0], nn.Linear(fan_in, inner))
        self.add_module(names[1], nn.Linear(inner, fan_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = (self.get_submodule(name) for name in self.names)
        return second(functional.gelu(first(x), approximate="tanh"))


class Layer(nn.Module):
    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.input_layernorm = Scaled(width)
        self.self_attn = Attention(width, heads)
        self.post_attention_layernorm = Scaled(width)
        self.mlp = TwoLinear(("up_proj", "down_proj"), width, inner, width)

    def forward(self, x: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), allowed)
        return x + self.mlp(self.post_attention_layernorm(x))


class LanguageModel(nn.Module):
    """Named as the real one: language_model.model.layers.0…, language_model.lm_head."""

    def __init__(self, llm: dict[str, Any]) -> None:
        super().__init__()
        width = llm["hidden_size"]
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(llm["vocab_size"], width)
        self.model.layers = nn.ModuleList(
            Layer(width, llm["intermediate_size"], llm["num_attention_heads"]) for _ in range(llm["num_hidden_layers"])
        )
        self.model.norm = Scaled(width)
        self.lm_head = nn.Linear(width, llm["vocab_size"])

    def forward(self, x: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        for layer in self.model.layers:
            x = layer(x, allowed)
        return self.model.norm(x)


class FixedPositions(nn.Module):
    """Marks of a picture's patches: never trained, and never loaded from a file."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(marks(torch.arange(count), width, 100.0), requires_grad=False)


class VisionModel(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch_embedding = nn.Linear(3 * PATCH * PATCH, width)


class Canvas(nn.Module):
    def __init__(self, llm: dict[str, Any], vit: dict[str, Any]) -> None:
        super().__init__()
        self.width = width = llm["hidden_size"]
        self.language_model = LanguageModel(llm)
        self.time_embedder = TwoLinear(("first", "second"), TIME_FEATURES, width, width)
        self.vae2llm = nn.Linear(LATENT, width)
        self.llm2vae = nn.Linear(width, LATENT)
        self.latent_pos_embed = FixedPositions(PATCHES, width)
        self.vit_model = VisionModel(vit["hidden_size"])
        self.connector = TwoLinear(("first", "second"), vit["hidden_size"], width, width)
        self.vit_pos_embed = FixedPositions(PATCHES, width)
        self.apply(_initialise)
        nn.init.zeros_(self.llm2vae.weight)
        nn.init.normal_(self.language_model.lm_head.weight, std=0.02)

    def forward(self, sequence: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses of one sample: cross-entropy of each labelled token, squared error of each noisy patch's latent."""
        x = self.embed(sequence)
        hidden = self.language_model(x, sequence["allowed"])
        logits = self.language_model.lm_head(hidden[sequence["ce_loss_indexes"]])
        ce = functional.cross_entropy(logits, sequence["labels"], reduction="none")
        guess = self.llm2vae(hidden[sequence["mse_loss_indexes"]])
        return ce, (guess - sequence["velocity"]).square()

    def embed(self, sequence: dict[str, torch.Tensor]) -> torch.Tensor:
        """The sample's rows, text and pictures where they belong, with marks of their position."""
        parts = marks(sequence["positions"], self.width) * MARKED
        parts = parts.index_add(0, sequence["text_places"], self.language_model.model.embed_tokens(sequence["text"]))
        if len(sequence["vit_places"]):
            seen = (
                self.connector(self.vit_model.patch_embedding(sequence["vit_patches"])) + self.vit_pos_embed.pos_embed
            )
            parts = parts.index_add(0, sequence["vit_places"], seen.flatten(0, 1))
        if len(sequence["vae_places"]):
            times = self.time_embedder(marks(sequence["times"] * 1000, TIME_FEATURES))[:, None]
            seen = self.vae2llm(sequence["latents"]) + times + self.latent_pos_embed.pos_embed
            parts = parts.index_add(0, sequence["vae_places"], seen.flatten(0, 1))
        return parts


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.6 / math.sqrt(module.in_features))
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.2)
