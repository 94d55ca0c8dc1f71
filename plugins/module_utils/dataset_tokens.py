"""How many tokens a sample costs, by the arithmetic of the trainer's data code.

Images are exact. Text is estimated until the real tokenizer reads it: each digit is a token (the tokenizer of the
model splits numbers so), all other text one token per three bytes, which is more than English or Chinese needs.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_PIXELS = 14 * 14 * 9 * 1024  # the trainer's own default for both transforms
MARKS = 2  # a start and an end token around each part of a sample


@dataclass(frozen=True)
class Transform:
    """A resize of the trainer: edges in pixels, stride in pixels per token and direction."""

    max_edge: int
    min_edge: int
    stride: int

    def tokens(self, width: int, height: int) -> int:
        """Tokens of an image of this size after the resize (MathCanvas cc48f16, data/transforms.py)."""
        scale = max(min(self.max_edge / max(width, height), 1.0), self.min_edge / min(width, height))
        wide, high = self._scaled(width, height, scale)
        if wide * high > MAX_PIXELS:
            wide, high = self._scaled(wide, high, MAX_PIXELS / (wide * high))
        if max(wide, high) > self.max_edge:
            wide, high = self._scaled(wide, high, self.max_edge / max(wide, high))
        return wide * high // self.stride**2

    def _scaled(self, width: int, height: int, scale: float) -> tuple[int, int]:
        return self._whole(round(width * scale)), self._whole(round(height * scale))

    def _whole(self, value: int) -> int:
        return max(self.stride, int(round(value / self.stride) * self.stride))


@dataclass(frozen=True)
class Transforms:
    """The two transforms of the dataset yaml; the strides are the model's own."""

    vae: Transform = Transform(512, 512, 16)
    vit: Transform = Transform(512, 512, 14)

    def image_tokens(self, width: int, height: int, *, learned: bool) -> int:
        """Tokens of one image: a solution image is learned, so it stands twice as latents (noisy and clean)."""
        latents = 2 if learned else 1
        vae, vit = self.vae.tokens(width, height), self.vit.tokens(width, height)
        return latents * (vae + MARKS) + vit + MARKS


def text_tokens(text: str) -> int:
    """An upper estimate of the tokens of a text part with its two marks; blank text is left out by the trainer."""
    text = text.strip()
    if not text:
        return 0
    digits = sum(1 for letter in text if letter.isdigit())
    others = len(text.encode("utf-8", "replace")) - digits
    return digits + -(-max(0, others) // 3) + MARKS
