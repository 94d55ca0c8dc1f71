"""Merges the adapters of a checkpoint into their base: W + alpha / rank · B · A in float32, rounded to bfloat16.

The new file has the header of the base's file, byte for byte, and so its keys, order, types and size. Connectors that
were trained whole replace the base's. Everything else is copied. A few million numbers are held at a time, whatever the
size of the model. Needs numpy, imported where it is used: the training's own environment has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

from ..core.errors import FleetError
from ..system import files
from ..trainer import safetensors
from ..trainer.adapter import PARTS, Adapter, adapter_of, layers_of
from ..trainer.safetensors import Tensor

CELLS = 1 << 18  # numbers that are computed at once, few enough for the processor's cache
BLOCK = 4 << 20  # bytes copied at once
FLUSH = 1 << 30  # bytes after which the disk is waited for, so that the rate that is shown is the disk's
Array = Any  # of numpy
Tell = Callable[[int, int], None]  # bytes done, of so many


@dataclass(frozen=True)
class Merged:
    """`cells`: numbers of adapted layers; `swallowed`: those that the rounding to bfloat16 left as they were."""

    layers: int
    replaced: int
    cells: int
    swallowed: int


class Weights:
    """An open safetensors file. Raises FleetError for one that is none, or not whole."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._stream, self.size = files.open_plain(path)
        self.header = safetensors.parse(self.at, path)
        if self.header.size != self.size:
            found = f"{path}: {self.size} bytes"
            raise FleetError("a file of weights is not whole", found=found, expected=f"{self.header.size} bytes")

    def at(self, offset: int, number: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(number)

    def part(self, name: str, begin: int, number: int) -> bytes:
        """`number` bytes of a tensor, from its byte `begin` on."""
        data = self.at(self.header.begin + self.header.tensors[name].span[0] + begin, number)
        if len(data) != number:
            raise FleetError("a file of weights changed while it was read", found=self.path)
        return data

    def numbers(self, name: str) -> Array:
        """A whole tensor of float32."""
        tensor = self.header.tensors[name]
        return import_module("numpy").frombuffer(self.part(name, 0, tensor.bytes), "<f4").reshape(tensor.shape)

    def close(self) -> None:
        self._stream.close()


@contextmanager
def opened(path: str) -> Iterator[Weights]:
    weights = Weights(path)
    try:
        yield weights
    finally:
        weights.close()


def adapter_in(adapters: Weights) -> Adapter:
    """Raises FleetError where the file is none of a training with adapters."""
    try:
        return adapter_of(adapters.header)
    except ValueError as error:
        raise FleetError("this is no file of adapters", found=f"{adapters.path}: {error}") from error


def check(base: Weights, adapters: Weights) -> None:
    """Raises FleetError unless each tensor of the adapters has its place in this base."""
    adapter, there = adapter_in(adapters), base.header.tensors
    if adapter.base != base.header.digest:
        raise FleetError(
            "the adapters were trained on another base",
            variable="weights_dir",
            found=f"{base.path}: its header has the digest {base.header.digest[:16]}…",
            expected=f"{adapter.base[:16]}…, which {adapters.path} names",
            remedy="set weights_dir to the model folder that the run was trained with",
        )
    end = 0
    for name, tensor in sorted(there.items(), key=lambda item: item[1].span):
        if tensor.span != (end, end + tensor.bytes):
            raise FleetError("the base's file has a gap", found=f"{base.path}: before {name[:100]}")
        end = tensor.span[1]
    wrong = [name for name, shape in _targets(adapters) if there.get(name) != Tensor("BF16", shape)]
    if wrong:
        found = f"{adapters.path}: {wrong[0][:100]}, and {len(wrong) - 1} more"
        raise FleetError("the base has no such weights of bfloat16 for the adapters", found=found, expected=base.path)


def _targets(adapters: Weights) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Key and shape of each tensor of the base that changes."""
    there = adapters.header.tensors
    for name in layers_of(there):
        yield f"{name}.weight", (there[name + PARTS[1]].shape[0], there[name + PARTS[0]].shape[1])
    for name in whole_ones(adapters):
        if there[name].dtype != "F32":
            raise FleetError("a trained connector is not float32", found=f"{adapters.path}: {name[:100]}")
        yield name, there[name].shape


def whole_ones(adapters: Weights) -> list[str]:
    """Keys that the adapters' file has whole: trained connectors."""
    return sorted(name for name in adapters.header.tensors if not name.endswith(PARTS))


def pair(adapters: Weights, layer: str) -> tuple[Array, Array]:
    """A and B. Raises FleetError for values that are no numbers, as a training that diverged leaves them."""
    found = tuple(adapters.numbers(f"{layer}{part}") for part in PARTS)
    for array, part in zip(found, PARTS):
        _refuse_nan(array, adapters, f"{layer}{part}")
    return found[0], found[1]


def _refuse_nan(array: Array, adapters: Weights, name: str) -> None:
    if not import_module("numpy").isfinite(array).all():
        raise FleetError(
            "the checkpoint holds values that are no numbers",
            found=f"{adapters.path}: {name[:100]}",
            remedy="the training diverged: merge an earlier checkpoint, and lower run_config_lr",
        )


def merge(base: Weights, adapters: Weights, out: BinaryIO, tell: Tell) -> Merged:
    """Write the merged file. `tell` hears how far it is. Raises FleetError for files that do not belong together."""
    check(base, adapters)
    scale, layers = adapter_in(adapters).scale, {f"{name}.weight": name for name in layers_of(adapters.header.tensors)}
    replaced = set(whole_ones(adapters))
    cells = swallowed = flushed = 0
    out.write(base.at(0, base.header.begin))
    for name, tensor in sorted(base.header.tensors.items(), key=lambda item: item[1].span):
        if name in layers:
            cells += tensor.parameters
            pieces = _added(base, name, *pair(adapters, layers[name]), scale)
        elif name in replaced:
            pieces = _replaced(adapters, name)
        else:
            pieces = _copied(base, name)
        for data, same in pieces:
            out.write(data)
            swallowed += same
            done = out.tell()
            tell(done, base.size)
            if done - flushed >= FLUSH:
                flushed = done
                out.flush()
                os.fdatasync(out.fileno())
    return Merged(len(layers), len(replaced), cells, swallowed)


def _copied(base: Weights, name: str) -> Iterator[tuple[bytes, int]]:
    size = base.header.tensors[name].bytes
    for begin in range(0, size, BLOCK):
        yield base.part(name, begin, min(BLOCK, size - begin)), 0


def _replaced(adapters: Weights, name: str) -> Iterator[tuple[bytes, int]]:
    numbers = adapters.numbers(name)
    _refuse_nan(numbers, adapters, name)
    yield narrowed(numbers.reshape(-1)).tobytes(), 0


def _added(base: Weights, name: str, low: Array, high: Array, scale: float) -> Iterator[tuple[bytes, int]]:
    """The merged weight, some rows at a time, each with the number of cells that did not change for all that."""
    numpy = import_module("numpy")
    rows, width = base.header.tensors[name].shape
    step = max(1, CELLS // max(1, width))
    scale = numpy.float32(scale)
    for row in range(0, rows, step):
        delta = high[row : row + step] @ low
        delta *= scale
        old = numpy.frombuffer(base.part(name, 2 * row * width, 2 * delta.size), "<u2").reshape(delta.shape)
        new = narrowed(widened(old) + delta)
        yield new.tobytes(), int(numpy.count_nonzero((new == old) & (delta != 0)))


def widened(bits: Array) -> Array:
    """Float32 of bfloat16, which is its upper half."""
    return (bits.astype("<u4") << 16).view("<f4")


def narrowed(numbers: Array) -> Array:
    """The bits of bfloat16, rounded to the nearest, of two equally near ones to the even one. For numbers, not NaN."""
    bits = numbers.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
