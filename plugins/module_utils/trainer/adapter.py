"""What adapter.safetensors of a LoRA checkpoint says of itself, from its header alone.

The file holds `<key of the base without .weight>.lora_A` (rank × in) and `.lora_B` (out × rank) of each adapted layer,
fp32, and trained connectors whole under the base's own keys. Its metadata, all texts: rank, alpha, targets,
connectors, and base_header_sha256, the digest of the header of the base's file (trainer/patch_lora.py writes it).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .safetensors import Header, Tensor

FILE = "adapter.safetensors"
PARTS = (".lora_A", ".lora_B")
TARGETS = ("all", "attention")
RANKS = range(1, 257)
WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class Adapter:
    """`base`: digest of the base file's header. `layers`: how many have an adapter."""

    rank: int
    alpha: float
    targets: str
    connectors: bool
    base: str
    layers: int

    @property
    def scale(self) -> float:
        """Of the product B · A in the merged weight."""
        return self.alpha / self.rank

    def words(self) -> str:
        return f"rank {self.rank}, alpha {self.alpha:g}, targets {self.targets}"


def adapter_of(header: Header) -> Adapter:
    """Raises ValueError for a file that no training with adapters wrote."""
    metadata = header.metadata
    rank = _number(metadata, "rank")
    alpha = _number(metadata, "alpha")
    targets, base = metadata.get("targets", ""), metadata.get("base_header_sha256", "")
    if rank not in RANKS or not alpha > 0:
        raise ValueError(f"a rank of {metadata['rank'][:20]}, an alpha of {metadata['alpha'][:20]}")
    if targets not in TARGETS or metadata.get("connectors", "").lower() not in WORDS:
        raise ValueError("its metadata name no targets or no connectors")
    if not re.fullmatch(r"[0-9a-f]{64}", base):
        raise ValueError("its metadata name no base")
    layers = layers_of(header.tensors)
    for name in layers:
        _check(name, header.tensors, int(rank))
    return Adapter(int(rank), alpha, targets, WORDS[metadata["connectors"].lower()], base, len(layers))


def layers_of(tensors: Mapping[str, Tensor]) -> list[str]:
    """Keys of the adapted layers, without .weight. Raises ValueError without any, or for half an adapter."""
    found = [{name[: -len(part)] for name in tensors if name.endswith(part)} for part in PARTS]
    half = found[0] ^ found[1]
    if half or not found[0]:
        raise ValueError(f"half an adapter of {min(half)[:100]}" if half else "it holds no adapter")
    return sorted(found[0])


def _number(metadata: Mapping[str, str], name: str) -> float:
    try:
        value = float(metadata.get(name, ""))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"its metadata name no {name}")
    return value


def _check(name: str, tensors: Mapping[str, Tensor], rank: int) -> None:
    low, high = (tensors[f"{name}{part}"] for part in PARTS)
    shapes = [*low.shape, *high.shape]
    if len(low.shape) != 2 or len(high.shape) != 2 or shapes[0] != rank or shapes[3] != rank:
        raise ValueError(f"the adapter of {name[:100]} has not rank {rank}")
    if {low.dtype, high.dtype} != {"F32"}:
        raise ValueError(f"the adapter of {name[:100]} is not float32")
