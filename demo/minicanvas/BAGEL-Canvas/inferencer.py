"""Writes texts and draws pictures with a tiny model: contexts that grow, by the names that the real one has."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from modeling.autoencoder import Autoencoder, patches
from modeling.bagel import ROWS_OF_A_PICTURE, Bagel
from modeling.rows import Array, Memory, Rows, array
from modeling.shapes import LATENT, PATCHES, PICTURE
from modeling.tokenizer import Tokenizer
from PIL import Image

LONGEST = 48  # tokens of a text: the puzzles' own have at most 40
SAME = 8  # tokens: a text whose last ones are all of two kinds goes nowhere, and is cut
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
        self.rows = Rows(model)
        self.ends = (new_token_ids["start_of_image"], new_token_ids["end_of_image"])

    def init_gen_context(self) -> Context:
        return {"memory": Memory(self.rows.layers)}

    def update_context_text(self, text: str, gen_context: Context) -> Context:
        ids = [self.new_token_ids["bos_token_id"], *self.tokenizer.encode(text), self.new_token_ids["eos_token_id"]]
        self.rows.passed(self.rows.of_text(ids), gen_context["memory"], causal=True, keep=True)
        return gen_context

    def update_context_image(
        self, image: Image.Image, gen_context: Context, vae: bool = True, vit: bool = True
    ) -> Context:
        pixels = np.asarray(image.convert("RGB").resize((PICTURE[1], PICTURE[0]), Image.Resampling.BILINEAR))
        given = torch.from_numpy(pixels.copy())[None]
        ways = []
        if vae:
            ways.append(self.rows.drawn(array(self.vae_model.encode(given)[0]), 0.0))
        if vit:
            ways.append(self.rows.seen(array(patches(given)[0])))
        for inner in ways:
            block = self.rows.of_picture(inner, self.ends)
            self.rows.passed(block, gen_context["memory"], causal=False, keep=True)
        return gen_context

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
            hidden = self.rows.passed(self.rows.of_text(ids[-1:]), memory, causal=True, keep=True)
            ids.append(self._next(self.rows.linear("language_model.lm_head", hidden[-1]), do_sample, temperature))
            if len(ids) > SAME and len(set(ids[-SAME:])) <= 2:
                break
        return ids if return_ids else self.tokenizer.decode(ids[1:-2])

    def _next(self, logits: Array, do_sample: bool, temperature: float) -> int:
        if not do_sample:
            return int(logits.argmax())
        chances = torch.softmax(torch.from_numpy(logits) / temperature, dim=-1)
        return int(torch.multinomial(chances, 1))

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
        latents = array(torch.randn(PATCHES, LATENT))
        times = np.linspace(1, 0, num_timesteps)
        times = timestep_shift * times / (1 + (timestep_shift - 1) * times)
        for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            speed = self._speed(latents, now, gen_context)
            if cfg_text_scale > 1 and cfg_text_precontext:
                without = self._speed(latents, now, cfg_text_precontext)
                guided = without + cfg_text_scale * (speed - without)
                speed = guided * min(1.0, float(np.linalg.norm(speed) / (np.linalg.norm(guided) + 1e-8)))
            if cfg_img_scale > 1 and cfg_img_precontext:
                without = self._speed(latents, now, cfg_img_precontext)
                speed = without + cfg_img_scale * (speed - without)
            latents = (latents - speed * (now - then)).astype(np.float32)
        gen_context["memory"].position += ROWS_OF_A_PICTURE  # a training has the noisy picture before the clean one
        picture = Image.fromarray(self.vae_model.decode(torch.from_numpy(latents)).numpy())
        return picture.resize(DRAWN, Image.Resampling.NEAREST)

    def _speed(self, latents: Array, time: float, context: Context) -> Array:
        rows = self.rows.of_picture(self.rows.drawn(latents, time), self.ends)
        hidden = self.rows.passed(rows, context["memory"], causal=False, keep=False)
        return self.rows.linear("llm2vae", hidden[1:-1])
