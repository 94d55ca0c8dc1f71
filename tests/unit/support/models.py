"""Small models in safetensors files, and adapters for them, as trainings leave them. Numbers are numpy's float32."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy

RANK, ALPHA = 4, 8.0
LAYERS = ("language_model.model.layers.0.mlp.up_proj", "language_model.model.layers.0.self_attn.q_proj_moe_gen")
SHAPES = {
    "connector.fc1.weight": (24, 16),
    "connector.fc1.bias": (24,),
    "language_model.model.embed_tokens.weight": (600, 24),
    f"{LAYERS[0]}.weight": (33, 24),
    f"{LAYERS[1]}.weight": (24, 24),
    f"{LAYERS[1]}.bias": (24,),
    "vit_model.patch.weight": (7, 5, 3),
}
CONNECTORS = ("connector.fc1.weight", "connector.fc1.bias")
SMALL_FILES = ("llm_config.json", "vit_config.json", "tokenizer_config.json", "vocab.json", "merges.txt")
Array = Any
Tensors = Mapping[str, Array]


def rounded(numbers: Array) -> Array:
    """To bfloat16 by its definition: 8 digits of mantissa, to the nearest, ties to even. For normal numbers and 0."""
    _, exponent = numpy.frexp(numbers.astype("f8"))
    unit = numpy.ldexp(1.0, exponent - 8)
    return (numpy.rint(numbers.astype("f8") / unit) * unit).astype("f4")


def write(path: Path, tensors: Tensors, dtype: str, metadata: Mapping[str, str]) -> Path:
    """float32 as they are, or as bfloat16, whose bits are the upper half. Other types by their own name."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    data = b""
    for name, tensor in tensors.items():
        bits = (tensor.view("<u4") >> 16).astype("<u2") if dtype == "BF16" else tensor
        kind = {"f4": dtype, "f2": "F16"}[tensor.dtype.str[1:]]
        header[name] = {
            "dtype": kind,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + bits.nbytes],
        }
        data += bits.tobytes()
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def read(path: Path) -> dict[str, Array]:
    data = path.read_bytes()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    found = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            part = data[begin + entry["data_offsets"][0] : begin + entry["data_offsets"][1]]
            kind = {"BF16": "<u2", "F16": "<f2", "F32": "<f4"}[entry["dtype"]]
            numbers = numpy.frombuffer(part, kind).reshape(entry["shape"])
            found[name] = (numbers.astype("<u4") << 16).view("<f4") if kind == "<u2" else numbers
    return found


def base(folder: Path, dtype: str = "BF16") -> Path:
    """A model folder; returns the file of its weights."""
    chance = numpy.random.default_rng(1)
    tensors = {name: rounded(chance.standard_normal(shape, numpy.float32)) for name, shape in SHAPES.items()}
    for name in SMALL_FILES:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name}\n")
    write(folder / "ae.safetensors", {"encoder.weight": numpy.ones((3, 3), "f4")}, "F32", {})
    return write(folder / "ema.safetensors", tensors, dtype, {"format": "pt"})


def header_digest(path: Path) -> str:
    data = path.read_bytes()
    return sha256(data[8 : 8 + struct.unpack("<Q", data[:8])[0]]).hexdigest()


def adapters(path: Path, of: Path, seed: int = 2, connectors: bool = True, **metadata: str) -> Path:
    """The file that a training on the model of `of` would save."""
    chance = numpy.random.default_rng(seed)
    tensors: dict[str, Array] = {}
    for layer in LAYERS:
        rows, width = SHAPES[f"{layer}.weight"]
        tensors[f"{layer}.lora_A"] = chance.standard_normal((RANK, width), numpy.float32)
        tensors[f"{layer}.lora_B"] = chance.standard_normal((rows, RANK), numpy.float32) * numpy.float32(0.01)
    for name in CONNECTORS if connectors else ():
        tensors[name] = chance.standard_normal(SHAPES[name], numpy.float32)
    what = {
        "rank": str(RANK), "alpha": str(ALPHA), "targets": "all", "connectors": str(connectors).lower(),
        "base_header_sha256": header_digest(of), **metadata,
    }  # fmt: skip
    return write(path, tensors, "F32", what)


def changed(path: Path, tensors: Tensors) -> None:
    """Writes a file of adapters again with other tensors."""
    head = path.read_bytes()
    metadata = json.loads(head[8 : 8 + struct.unpack("<Q", head[:8])[0]])["__metadata__"]
    write(path, {**read(path), **tensors}, "F32", metadata)


def wanted(of: Path, low: Path) -> dict[str, Array]:
    """The merged weights, by the definition, in float32."""
    whole, parts = read(of), read(low)
    for layer in LAYERS:
        delta = (parts[f"{layer}.lora_B"] @ parts[f"{layer}.lora_A"]) * numpy.float32(ALPHA / RANK)
        whole[f"{layer}.weight"] = rounded(whole[f"{layer}.weight"] + delta)
    return {**whole, **{name: rounded(parts[name]) for name in CONNECTORS if name in parts}}
