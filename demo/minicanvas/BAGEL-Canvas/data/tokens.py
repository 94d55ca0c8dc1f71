"""Tokens of a picture: its size after the resize to at most 512 pixels, divided by the stride squared.

The tiny model looks at 32 × 24 pixels of every picture; budgets are counted as for the real model all the same.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageTransform:
    """One of the yaml's two image settings; sizes in pixels."""

    max_image_size: int
    min_image_size: int
    image_stride: int
    max_pixels: int = 14 * 14 * 9 * 1024

    def _scaled(self, width: int, height: int, scale: float) -> tuple[int, int]:
        stride = self.image_stride
        sides = (round(side * scale) for side in (width, height))
        wide, high = (max(stride, round(side / stride) * stride) for side in sides)
        return wide, high

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the resize, both multiples of the stride."""
        scale = min(self.max_image_size / max(width, height), 1.0)
        scale = max(scale, self.min_image_size / min(width, height))
        wide, high = self._scaled(width, height, scale)
        if wide * high > self.max_pixels:
            wide, high = self._scaled(wide, high, self.max_pixels / (wide * high))
        if max(wide, high) > self.max_image_size:
            wide, high = self._scaled(wide, high, self.max_image_size / max(wide, high))
        return wide, high

    def tokens(self, width: int, height: int) -> int:
        wide, high = self.size(width, height)
        return wide * high // self.image_stride**2
