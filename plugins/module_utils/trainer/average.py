"""The average of the weights (EMA) that the trainer saves beside the model. Pure."""

from __future__ import annotations

BASE_SHARE = 0.5  # share of the base model in ema.safetensors from which on the model itself is the better file


def base_share(decay: float, steps: int) -> float:
    """How much of the base model is left in the average after the steps 0 … `steps` (contract: total + 1 updates)."""
    return float(max(0.0, decay) ** (steps + 1))


def better_file(decay: float, steps: int) -> str:
    """Which file of a checkpoint is the model, `ema` or `model` (docs/results.md)."""
    return "model" if decay <= 0 or base_share(decay, steps) > BASE_SHARE else "ema"
