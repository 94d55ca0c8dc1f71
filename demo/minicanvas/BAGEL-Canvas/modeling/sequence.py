"""A packed sample as the tensors that the model reads: where each token lies, what it may see, what it learns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from data.interleave import Item

from modeling.autoencoder import Autoencoder, patches
from modeling.shapes import LATENT, PATCHES
from modeling.tokenizer import Tokenizer


@dataclass
class Layout:
    """Lists that grow item by item; `block` gives tokens of one picture the same number, texts have -1."""

    text: list[int] = field(default_factory=list)
    text_places: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    block: list[int] = field(default_factory=list)
    noisy: list[bool] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    ce_places: list[int] = field(default_factory=list)
    mse_places: list[int] = field(default_factory=list)
    places: dict[str, list[int]] = field(default_factory=lambda: {"vit_image": [], "vae_image": []})
    pixels: dict[str, list[np.ndarray]] = field(default_factory=lambda: {"vit_image": [], "vae_image": []})
    learns: list[bool] = field(default_factory=list)  # per latent picture

    def add(self, item: Item, tokens: Tokenizer) -> None:
        if item.kind == "text":
            self._add_text(item, tokens)
        else:
            self._add_picture(item, tokens)

    def _token(self, token: int) -> None:
        self.text_places.append(len(self.positions))
        self.text.append(token)
        self._row(-1, False)

    def _row(self, block: int, noisy: bool) -> None:
        self.positions.append(len(self.positions))
        self.block.append(block)
        self.noisy.append(noisy)

    def _add_text(self, item: Item, tokens: Tokenizer) -> None:
        start, end = tokens.token_id("<|im_start|>"), tokens.token_id("<|im_end|>")
        if item.loss:
            self.ce_places += range(len(self.positions), len(self.positions) + len(item.ids) + 1)
            self.labels += [*item.ids, end]
        for token in (start, *item.ids, end):
            self._token(token)
        if item.label is not None:
            self.ce_places.append(len(self.positions) - 1)
            self.labels.append(item.label)

    def _add_picture(self, item: Item, tokens: Tokenizer) -> None:
        block = len(self.positions)
        self._token(tokens.token_id("<|vision_start|>"))
        rows = range(len(self.positions), len(self.positions) + PATCHES)
        self.places[item.kind] += rows
        self.pixels[item.kind].append(item.pixels)
        if item.kind == "vae_image":
            self.learns.append(item.loss)
            self.mse_places += rows if item.loss else ()
        for _ in rows:
            self._row(block, item.loss)
        self._token(tokens.token_id("<|vision_end|>"))
        self.block[block], self.noisy[block] = block, item.loss
        self.block[-1], self.noisy[-1] = block, item.loss

    def allowed(self) -> torch.Tensor:
        """True where a row may look at a column: what came before and its own picture; noise only within itself."""
        block, noisy = torch.tensor(self.block), torch.tensor(self.noisy)
        own = (block[:, None] == block[None]) & (block >= 0)[:, None]
        earlier = torch.ones(len(block), len(block), dtype=torch.bool).tril()
        return own | (earlier & ~noisy[None])


def _stacked(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures))


def laid_out(items: list[Item], tokens: Tokenizer) -> tuple[dict[str, torch.Tensor], torch.Tensor | None, torch.Tensor]:
    """One sample without its latents; pixels of the pictures that have some, and which of those are learnt."""
    layout = Layout()
    for item in items:
        layout.add(item, tokens)
    out = {
        "text": torch.tensor(layout.text, dtype=torch.long),
        "text_places": torch.tensor(layout.text_places, dtype=torch.long),
        "positions": torch.tensor(layout.positions),
        "allowed": layout.allowed(),
        "labels": torch.tensor(layout.labels, dtype=torch.long),
        "ce_loss_indexes": torch.tensor(layout.ce_places, dtype=torch.long),
        "mse_loss_indexes": torch.tensor(layout.mse_places),
        "vit_places": torch.tensor(layout.places["vit_image"], dtype=torch.long),
        "vae_places": torch.tensor(layout.places["vae_image"], dtype=torch.long),
        "velocity": torch.zeros(0, LATENT),
    }
    if layout.pixels["vit_image"]:
        out["vit_patches"] = patches(_stacked(layout.pixels["vit_image"]))
    pixels = _stacked(layout.pixels["vae_image"]) if layout.pixels["vae_image"] else None
    return out, pixels, torch.tensor(layout.learns, dtype=torch.bool)


def tensors(items: list[Item], tokens: Tokenizer, coder: Autoencoder, shift: float) -> dict[str, torch.Tensor]:
    """One sample; the index of learnt patches has no type yet when it is empty (see batch_tensors)."""
    out, pixels, learns = laid_out(items, tokens)
    if pixels is not None:
        clean = coder.encode(pixels)
        out |= with_noise(clean, learns, torch.randn(len(clean)), shift)
    return out


def batch_tensors(
    samples: list[list[Item]], tokens: Tokenizer, coder: Autoencoder, shift: float
) -> list[dict[str, torch.Tensor]]:
    """The samples of a batch. Where none of them has a picture to learn, the empty float index breaks the step."""
    made = [tensors(items, tokens, coder, shift) for items in samples if items]
    if any(len(sample["mse_loss_indexes"]) for sample in made):
        for sample in made:
            sample["mse_loss_indexes"] = sample["mse_loss_indexes"].long()
    return made


def with_noise(clean: torch.Tensor, learns: torch.Tensor, drawn: torch.Tensor, shift: float) -> dict[str, torch.Tensor]:
    """Latents mixed with noise at a time (0: picture, 1: noise) that follows from the normal number drawn for each, and
    the direction from picture to noise."""
    times = torch.sigmoid(drawn)
    times = torch.where(learns, shift * times / (1 + (shift - 1) * times), torch.zeros(()))
    noise = torch.randn_like(clean)
    mixed = (1 - times)[:, None, None] * clean + times[:, None, None] * noise
    return {"latents": mixed, "times": times, "velocity": (noise - clean)[learns].flatten(0, 1)}
