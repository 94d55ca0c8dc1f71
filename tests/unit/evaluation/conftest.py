"""Folders of a run, with weights that hold nothing but their headers' shapes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec

BYTES = {"BF16": 2, "F32": 4}
SHAPES = {
    "language_model.model.embed_tokens.weight": (10, 4),
    "language_model.model.layers.0.self_attn.k_proj.weight": (2, 4),
    "language_model.model.layers.1.self_attn.k_proj.weight": (2, 4),
}


def weights(path: Path, shapes: Mapping[str, Sequence[int]], dtype: str = "BF16", **metadata: str) -> Path:
    """A whole safetensors file of zeros."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, shape in shapes.items():
        size = BYTES[dtype]
        for edge in shape:
            size *= edge
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(at))
    return path


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    base = tmp_path / "model"
    weights(base / "ema.safetensors", SHAPES)
    (base / "ae.safetensors").write_bytes(b"x" * 100)
    (tmp_path / "results/checkpoints").mkdir(parents=True)
    return Spec(
        mode="loss",
        folder=str(tmp_path / "results/evaluation"),
        code=str(tmp_path),
        commit="c" * 40,
        base=str(base),
        checkpoints=str(tmp_path / "results/checkpoints"),
        kept=str(tmp_path / "results/kept"),
        results=str(tmp_path / "results"),
        parquet=str(tmp_path / "test.parquet"),
        ema=0.995,
    )
