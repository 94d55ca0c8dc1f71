"""Checks a merged file, as it lies on the disk, against its base and its adapters.

The header, the size, and of each tensor a sample: three rows of an adapted layer, computed anew in float64; a trained
connector whole; both ends and the middle of what was copied.
"""

from __future__ import annotations

from importlib import import_module

from ..core.errors import FleetError
from ..trainer.adapter import layers_of
from .merge import Array, Weights, adapter_in, narrowed, pair, whole_ones, widened

SAMPLE = 4096  # bytes
NEAR = 2.0**-8  # of bfloat16: half a unit in the last place, and as much for the order of sums in float32
Sampled = int  # rows, connectors and pieces that were compared


def check(base: Weights, adapters: Weights, merged: Weights) -> Sampled:
    """Raises FleetError for the first tensor that is not as it must be."""
    if merged.at(0, base.header.begin) != base.at(0, base.header.begin) or merged.size != base.size:
        raise _wrong(merged, "its header")
    layers = {f"{name}.weight": name for name in layers_of(adapters.header.tensors)}
    whole, number = set(whole_ones(adapters)), 0
    for name in base.header.tensors:
        if name in layers:
            number += _rows(base, adapters, merged, layers[name])
        elif name in whole:
            bits = merged.part(name, 0, merged.header.tensors[name].bytes)
            _must(bits == narrowed(adapters.numbers(name)).tobytes(), merged, name)
            number += 1
        else:
            number += _pieces(base, merged, name)
    return number


def _rows(base: Weights, adapters: Weights, merged: Weights, layer: str) -> int:
    numpy, name = import_module("numpy"), f"{layer}.weight"
    rows, width = base.header.tensors[name].shape
    low, high = pair(adapters, layer)
    scale = adapter_in(adapters).scale
    chosen = {0, rows // 2, rows - 1} if rows else set()
    for row in chosen:
        old, new = (_row(one, name, row, width) for one in (base, merged))
        parts = high[row].astype("f8")[:, None] * low.astype("f8")
        wanted = old + scale * parts.sum(axis=0)
        slack = NEAR * numpy.abs(wanted) + 1e-5 * (numpy.abs(old) + scale * numpy.abs(parts).sum(axis=0)) + 1e-38
        _must(bool((numpy.abs(new - wanted) <= slack).all()), merged, name)
    return len(chosen)


def _row(weights: Weights, name: str, row: int, width: int) -> Array:
    data = weights.part(name, 2 * row * width, 2 * width)
    return widened(import_module("numpy").frombuffer(data, "<u2")).astype("f8")


def _pieces(base: Weights, merged: Weights, name: str) -> int:
    size = base.header.tensors[name].bytes
    begins = sorted({0, max(0, size // 2 - SAMPLE), max(0, size - SAMPLE)})
    for begin in begins:
        number = min(SAMPLE, size - begin)
        _must(merged.part(name, begin, number) == base.part(name, begin, number), merged, name)
    return len(begins)


def _must(holds: bool, merged: Weights, name: str) -> None:
    if not holds:
        raise _wrong(merged, name)


def _wrong(merged: Weights, what: str) -> FleetError:
    return FleetError(
        "the merged file is not what was computed",
        found=f"{merged.path}: {what[:100]}",
        expected="W + alpha / rank · B · A, and the base's weights elsewhere",
        remedy="look for errors of disk and memory in the kernel's messages (dmesg), then merge again",
    )
