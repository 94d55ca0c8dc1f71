"""Writes texts and draws pictures with a tiny model: contexts that grow, by the names that the real one has."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from modeling.autoencoder import Autoencoder, patches
from modeling.bagel import (
    ROWS_OF_A_PICTURE,
    Bagel,
    Memory,
    drawn_patches,
    passed,
    picture_rows,
    seen_patches,
    text_rows,
)
from modeling.shapes import LATENT, PATCHES, PICTURE
from modeling.tokenizer import Tokenizer
from PIL import Image

LONGEST = 64  # tokens of a text: the puzzles' own have at most 40
DRAWN = (128, 96)  # pixels, width by height, of a picture that it hands out
Context = dict[str, Any]


class InterleaveInferencer:
    def __init__(
        self,
        model: Bagel,
        vae_model: Autoencoder,
        tokenizer: Tokenizer,
        vae_transform: Any,
        vit_transform: Any,
        new_token_ids: dict[str, int],
    ) -> None:
        self.model, self.vae_model, self.tokenizer = model, vae_model, tokenizer
        self.vae_transform, self.vit_transform = vae_transform, vit_transform
        self.new_token_ids = new_token_ids
        self.ends = (new_token_ids["start_of_image"], new_token_ids["end_of_image"])

    def init_gen_context(self) -> Context:
        return {"memory": Memory(len(self.model.language_model.model.layers))}

    @torch.no_grad()
    def update_context_text(self, text: str, gen_context: Context) -> Context:
        ids = [self.new_token_ids["bos_token_id"], *self.tokenizer.encode(text), self.new_token_ids["eos_token_id"]]
        passed(self.model, text_rows(self.model, ids), gen_context["memory"], causal=True, keep=True)
        return gen_context

    @torch.no_grad()
    def update_context_image(
        self, image: Image.Image, gen_context: Context, vae: bool = True, vit: bool = True
    ) -> Context:
        pixels = np.asarray(image.convert("RGB").resize((PICTURE[1], PICTURE[0]), Image.Resampling.BILINEAR))
        given = torch.from_numpy(pixels.copy())[None]
        rows = []
        if vae:
            rows.append(drawn_patches(self.model, self.vae_model.encode(given)[0], 0.0))
        if vit:
            rows.append(seen_patches(self.model, patches(given)[0]))
        for inner in rows:
            block = picture_rows(self.model, inner, self.ends)
            passed(self.model, block, gen_context["memory"], causal=False, keep=True)
        return gen_context

    @torch.no_grad()
    def gen_text(
        self,
        gen_context: Context,
        max_length: int = 500,
        do_sample: bool = True,
        temperature: float = 1.0,
        return_ids: bool = False,
    ) -> Any:
        """Ids from the token that begins a text to the one that tells what follows it."""
        memory, end = gen_context["memory"].copy(), self.new_token_ids["eos_token_id"]
        ids = [self.new_token_ids["bos_token_id"]]
        while len(ids) < min(max_length, LONGEST) and end not in ids[1:-1]:
            hidden = passed(self.model, text_rows(self.model, ids[-1:]), memory, causal=True, keep=True)
            logits = self.model.language_model.lm_head(hidden[-1])
            if do_sample:
                ids.append(int(torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1)))
            else:
                ids.append(int(logits.argmax()))
        return ids if return_ids else self.tokenizer.decode(ids[1:-2])

    @torch.no_grad()
    def gen_image(
        self,
        image_shape: tuple[int, int],
        gen_context: Context,
        cfg_text_scale: float = 4.0,
        cfg_img_scale: float = 1.5,
        cfg_text_precontext: Context | None = None,
        cfg_img_precontext: Context | None = None,
        num_timesteps: int = 50,
        timestep_shift: float = 3.0,
        **_more: Any,
    ) -> Image.Image:
        """From noise to a picture, in num_timesteps - 1 steps."""
        latents = torch.randn(PATCHES, LATENT)
        times = torch.linspace(1, 0, num_timesteps)
        times = timestep_shift * times / (1 + (timestep_shift - 1) * times)
        for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            speed = self._speed(latents, now, gen_context)
            if cfg_text_scale > 1 and cfg_text_precontext:
                without = self._speed(latents, now, cfg_text_precontext)
                guided = without + cfg_text_scale * (speed - without)
                speed = guided * (speed.norm() / (guided.norm() + 1e-8)).clamp(max=1.0)
            if cfg_img_scale > 1 and cfg_img_precontext:
                without = self._speed(latents, now, cfg_img_precontext)
                speed = without + cfg_img_scale * (speed - without)
            latents = latents - speed * (now - then)
        gen_context["memory"].position += ROWS_OF_A_PICTURE  # a training has the noisy picture before the clean one
        picture = Image.fromarray(self.vae_model.decode(latents).numpy())
        return picture.resize(DRAWN, Image.Resampling.NEAREST)

    def _speed(self, latents: torch.Tensor, time: float, context: Context) -> torch.Tensor:
        rows = picture_rows(self.model, drawn_patches(self.model, latents, time), self.ends)
        hidden = passed(self.model, rows, context["memory"], causal=False, keep=False)
        return self.model.llm2vae(hidden[1:-1])
