"""The average of the weights (EMA) that the trainer saves beside the model. Pure."""

from __future__ import annotations

BASE_SHARE = 0.5  # share of the base model in ema.safetensors from which on the model itself is the better file


def base_share(decay: float, steps: int) -> float:
    """How much of the base model is left in the average after the steps 0 … `steps` (contract: total + 1 updates)."""
    return float(max(0.0, decay) ** (steps + 1))
