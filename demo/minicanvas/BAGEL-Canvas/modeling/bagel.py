"""The model as inference and evaluation know it: with the shapes and the forward pass of the real one's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from modeling.canvas import Canvas
from modeling.sequence import laid_out, with_noise
from modeling.shapes import PATCHES
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


ROWS_OF_A_PICTURE = PATCHES + 2
