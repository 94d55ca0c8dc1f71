"""Weights are told from other weights by a digest of pieces."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import subjects
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.subjects import Subject

from tests.unit.evaluation.conftest import SHAPES, weights


def test_a_digest_sees_a_change_anywhere_in_a_small_file(spec: Spec) -> None:
    path = Path(spec.checkpoints) / "0000040/ema.safetensors"
    weights(path, SHAPES)
    one = Subject("0000040", 40, str(path))
    before = subjects.digest(one)
    data = bytearray(path.read_bytes())
    assert subjects.digest(one) == before
    for place in (len(data) // 2, len(data) - 1):
        data[place] ^= 1
        path.write_bytes(data)
        assert subjects.digest(one) != before
        data[place] ^= 1
