"""The header of a safetensors file: names, types and shapes of its tensors, without reading the tensors.

A file is 8 bytes (length of the header, little endian), the header (JSON), then the data: a few hundred kilobytes of
29 GB are read. Standard library only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import FleetError
from ..system import files, limits
from ..system.digests import sha256

LENGTH = 8
BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
Read = Callable[[int, int], bytes]  # offset, number of bytes


@dataclass(frozen=True)
class Tensor:
    """`span`: first byte and byte after the last, counted from the first tensor's."""

    dtype: str
    shape: tuple[int, ...]
    span: tuple[int, int] = field(default=(0, 0), compare=False)

    @property
    def parameters(self) -> int:
        number = 1
        for edge in self.shape:
            number *= edge
        return number

    @property
    def bytes(self) -> int:
        return self.parameters * BYTES.get(self.dtype, 1)  # I8, U8, BOOL and the 8-bit floats


@dataclass(frozen=True)
class Header:
    """`digest`: SHA-256 of the header's own bytes. `metadata`: texts that the writer of the file put into it. `begin`:
    where the tensors begin in the file."""

    tensors: Mapping[str, Tensor]
    size: int  # bytes that the whole file must have: length, header and data
    digest: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    begin: int = 0

    @property
    def parameters(self) -> int:
        return sum(tensor.parameters for tensor in self.tensors.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def parse(read: Read, where: str) -> Header:
    """The header that `read` gives. Raises FleetError for what is no safetensors file."""
    first = read(0, LENGTH)
    length = struct.unpack("<Q", first)[0] if len(first) == LENGTH else 0
    if not 2 <= length <= limits.HEADER_BYTES:
        raise _broken(where, f"{len(first)} bytes, header length {length}")
    text = read(LENGTH, length)
    try:
        if len(text) != length:
            raise ValueError(f"{len(text)} of {length} bytes")
        return header_of(text)
    except ValueError as error:
        raise _broken(where, f"its header: {error}") from error


def header_of(text: bytes) -> Header:
    """Parse the header's bytes. Raises ValueError for an invalid one."""
    try:
        loaded = json.loads(text)
        tensors = {
            str(name): Tensor(str(entry["dtype"]), tuple(map(_edge, entry["shape"])), _span(entry["data_offsets"]))
            for name, entry in loaded.items()
            if name != "__metadata__"
        }
        metadata = {str(name): str(value) for name, value in loaded.get("__metadata__", {}).items()}
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    begin = LENGTH + len(text)
    ends = (tensor.span[1] for tensor in tensors.values())
    return Header(tensors, begin + max(ends, default=0), sha256(text), metadata, begin)


def _span(offsets: Any) -> tuple[int, int]:
    return int(offsets[0]), int(offsets[1])


def _edge(value: Any) -> int:
    edge = int(value)
    if edge < 0:
        raise ValueError(f"a shape of {edge}")
    return edge


def _broken(where: str, found: str) -> FleetError:
    return FleetError(f"{where} is no safetensors file", found=found, expected="a whole header")


def from_file(path: str) -> Header:
    """The header of a local file. Raises FleetError for another file, OSError for one that cannot be read."""
    stream, _status = files.open_plain(path)
    with stream:

        def read(offset: int, number: int) -> bytes:
            stream.seek(offset)
            return stream.read(number)

        return parse(read, path)
