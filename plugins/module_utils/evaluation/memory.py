"""What an evaluation holds of a GPU, from the headers of files alone, in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import FleetError
from ..findings.finding import finding
from ..trainer.safetensors import Header

NARROW = 2  # bytes of a bfloat16
CONTEXT = 600 << 20  # of CUDA, its libraries and the allocator's slack
LAYERS = "language_model.model.layers."
TOKENS = 12_288  # of the longest row: three pictures of a solution and one of a question at 512 pixels have 9,480
CACHES = 4  # of keys and values: the context, the two without text and picture, and a copy while a text is written


@dataclass(frozen=True)
class Need:
    """`resident`: with all weights on the GPU. `streamed`: with one layer at a time; None where that cannot be."""

    resident: int
    streamed: int | None


def memory(mode: str, weights: Header, vae_bytes: int, tokens: int = TOKENS) -> Need:
    """The most that one GPU holds. `weights`: of the base's file; `vae_bytes`: size of ae.safetensors.

    Answers need all weights on the GPU: each of the hundreds of tokens of a text would fetch 26 GB otherwise.
    """
    whole = NARROW * weights.parameters
    work = CONTEXT + vae_bytes + _work(mode, weights, tokens)
    layers: dict[str, int] = {}
    for name, tensor in weights.tensors.items():
        if name.startswith(LAYERS):
            number = name[len(LAYERS) :].split(".")[0]
            layers[number] = layers.get(number, 0) + NARROW * tensor.parameters
    if mode != "loss" or not layers:
        return Need(whole + work, None)
    return Need(whole + work, whole - sum(layers.values()) + 2 * max(layers.values()) + work)


def _work(mode: str, weights: Header, tokens: int) -> int:
    """What a row takes beside the weights."""
    shapes = weights.shapes
    hidden = max((shape[1] for name, shape in shapes.items() if name.endswith("embed_tokens.weight")), default=0)
    inner = max(
        (shape[0] for name, shape in shapes.items() if name.endswith("mlp.gate_proj.weight")), default=4 * hidden
    )
    passing = tokens * (12 * hidden + 4 * inner) * NARROW
    pictures = 12 * 512 * 512 * 128 * NARROW  # the encoder's widest maps, a row's pictures at once
    if mode == "loss":
        mask = tokens * tokens * (4 + NARROW)
        return passing + pictures + mask
    values = sum(
        2 * NARROW * tokens * shape[0]
        for name, shape in shapes.items()
        if name.startswith(LAYERS) and name.endswith("self_attn.k_proj.weight")
    )
    return passing + pictures // 4 + CACHES * values


def too_small(mode: str, need: Need, free: int) -> FleetError:
    """For a GPU that holds it in no way."""
    least, ways = (need.resident, "") if need.streamed is None else (need.streamed, ", one layer at a time")
    return FleetError.of(
        finding(
            "EVALUATION_GPU_SMALL",
            variable="evaluation_mode",
            found=f"{free / 1e9:.1f} GB free",
            expected=f"{least / 1e9:.1f} GB for {mode}{ways}",
            **({} if need.streamed is None else {"remedy": "end what else holds the GPU, or use a larger one"}),
        )
    )
