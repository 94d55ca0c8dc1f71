"""The fixed map between a patch of a picture and its latent, read from ae.safetensors."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from modeling.shapes import PATCH, PICTURE


def patches(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 pictures (n, height, width, 3) → float patches (n, patches, 3 · PATCH²) between -1 and 1."""
    count, height, width, _ = pixels.shape
    scaled = pixels.float() / 127.5 - 1
    grid = scaled.view(count, height // PATCH, PATCH, width // PATCH, PATCH, 3)
    return grid.permute(0, 1, 3, 5, 2, 4).reshape(count, -1, 3 * PATCH * PATCH)


class Autoencoder:
    """Raises FileNotFoundError when the file is absent."""

    def __init__(self, path: str) -> None:
        tensors = load_file(path)
        self.weight = tensors["encoder.weight"]
        self.mean, self.scale = tensors["latent.mean"], tensors["latent.scale"]

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 pictures (n, height, width, 3) → latents (n, patches, LATENT) of about unit spread."""
        return (patches(pixels) @ self.weight.T - self.mean) / self.scale

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (patches, LATENT) of one picture → uint8 (height, width, 3)."""
        grid = ((latents * self.scale + self.mean) @ self.weight).view(
            PICTURE[0] // PATCH, PICTURE[1] // PATCH, 3, PATCH, PATCH
        )
        pixels = grid.permute(0, 3, 1, 4, 2).reshape(*PICTURE, 3)
        return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
