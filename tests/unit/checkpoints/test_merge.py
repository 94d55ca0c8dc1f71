"""A merged file is the base's, with W + alpha / rank · B · A where an adapter was trained."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import merge, merge_check
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.unit.support import models
from tests.unit.support.models import ALPHA, CONNECTORS, LAYERS, RANK, SHAPES


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return models.base(tmp_path / "model")


@pytest.fixture
def low(tmp_path: Path, base: Path) -> Path:
    return models.adapters(tmp_path / "0000020/adapter.safetensors", base)


def merged(base: Path, low: Path, out: Path) -> merge.Merged:
    with merge.opened(str(base)) as one, merge.opened(str(low)) as other, out.open("wb") as target:
        return merge.merge(one, other, target, lambda _done, _total: None)


def checked(base: Path, low: Path, out: Path) -> int:
    with merge.opened(str(base)) as one, merge.opened(str(low)) as other, merge.opened(str(out)) as made:
        return merge_check.check(one, other, made)


@pytest.mark.parametrize("cells", [1, 50, 1 << 18], ids=["a row at a time", "two rows", "all at once"])
def test_each_weight_is_what_the_definition_says(
    tmp_path: Path, base: Path, low: Path, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "CELLS", cells)
    monkeypatch.setattr(merge, "BLOCK", 1000)
    done = merged(base, low, tmp_path / "out")
    expected, found = models.wanted(base, low), models.read(tmp_path / "out")
    assert {name for name in expected if not numpy.array_equal(expected[name], found[name])} == set()
    assert (done.layers, done.replaced, done.cells) == (2, 2, 33 * 24 + 24 * 24)
    assert checked(base, low, tmp_path / "out") == 2 * 3 + 2 + sum(
        len({0, max(0, size // 2 - 4096), max(0, size - 4096)})
        for size in (2 * int(numpy.prod(SHAPES[name])) for name in SHAPES if name not in (*CONNECTORS, *changed_keys()))
    )


def changed_keys() -> list[str]:
    return [f"{layer}.weight" for layer in LAYERS]


def test_header_size_and_order_are_the_bases(tmp_path: Path, base: Path, low: Path) -> None:
    merged(base, low, tmp_path / "out")
    begin = 8 + struct.unpack("<Q", base.read_bytes()[:8])[0]
    assert (tmp_path / "out").read_bytes()[:begin] == base.read_bytes()[:begin]
    assert (tmp_path / "out").stat().st_size == base.stat().st_size


def test_adapters_that_never_moved_change_nothing(tmp_path: Path, base: Path, low: Path) -> None:
    models.adapters(low, base, connectors=False)
    models.changed(
        low, {f"{layer}.lora_B": numpy.zeros((SHAPES[f"{layer}.weight"][0], RANK), "f4") for layer in LAYERS}
    )
    done = merged(base, low, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == base.read_bytes()
    assert (done.swallowed, done.replaced) == (0, 0)


def test_what_the_rounding_swallows_is_counted(tmp_path: Path, base: Path, low: Path) -> None:
    small = {f"{layer}.lora_B": numpy.full((SHAPES[f"{layer}.weight"][0], RANK), 1e-9, "f4") for layer in LAYERS}
    models.changed(low, small)
    done = merged(base, low, tmp_path / "out")
    assert done.swallowed > 0.9 * done.cells
    before, after = models.read(base), models.read(tmp_path / "out")
    same = sum(int((before[name] == after[name]).sum()) for name in changed_keys())
    assert done.swallowed == same


@given(arrays.arrays("f4", 50, elements=st.floats(-(2.0**120), 2.0**120, width=32, allow_subnormal=False)))
def test_rounding_is_to_the_nearest_and_of_two_to_the_even_one(numbers: numpy.ndarray) -> None:
    assert numpy.array_equal(merge.widened(merge.narrowed(numbers)), models.rounded(numbers))


def test_a_tie_goes_to_the_even_one() -> None:
    ties = numpy.array([1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8)], "f4")
    assert merge.widened(merge.narrowed(ties)).tolist() == [1.0, 1 + 2**-6, -1.0]


def other_base(base: Path, low: Path) -> None:
    models.adapters(low, base, base_header_sha256="0" * 64)


def other_shape(_base: Path, low: Path) -> None:
    models.changed(low, {f"{LAYERS[0]}.lora_B": numpy.zeros((32, RANK), "f4")})


def no_such_layer(_base: Path, low: Path) -> None:
    models.changed(low, {"x.lora_A": numpy.zeros((RANK, 3), "f4"), "x.lora_B": numpy.zeros((3, RANK), "f4")})


def no_such_connector(_base: Path, low: Path) -> None:
    models.changed(low, {"connector.fc9.bias": numpy.zeros(3, "f4")})


def connector_in_half(_base: Path, low: Path) -> None:
    models.changed(low, {CONNECTORS[1]: numpy.zeros(24, "f2")})


def diverged(_base: Path, low: Path) -> None:
    models.changed(low, {f"{LAYERS[1]}.lora_A": numpy.full((RANK, 24), numpy.nan, "f4")})


def connector_diverged(_base: Path, low: Path) -> None:
    models.changed(low, {CONNECTORS[1]: numpy.full(24, numpy.inf, "f4")})


def half_precision(base: Path, low: Path) -> None:
    models.base(base.parent, "F32")
    models.adapters(low, base)


def cut_base(base: Path, _low: Path) -> None:
    base.write_bytes(base.read_bytes()[:-1])


def gap(base: Path, low: Path) -> None:
    data = base.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    del header["vit_model.patch.weight" if "vit_model.patch.weight" in header else ""]
    header = {**header, "z": {"dtype": "U8", "shape": [1], "data_offsets": [len(data), len(data) + 1]}}
    text = json.dumps(header).encode()
    base.write_bytes(struct.pack("<Q", len(text)) + text + bytes(len(data) + 1))
    models.adapters(low, base)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_base, "another base"),
        (other_shape, "no such weights"),
        (no_such_layer, "no such weights"),
        (no_such_connector, "no such weights"),
        (connector_in_half, "not float32"),
        (diverged, "no numbers"),
        (connector_diverged, "no numbers"),
        (half_precision, "no such weights of bfloat16"),
        (cut_base, "not whole"),
        (gap, "gap"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_does_not_belong_together_is_refused(
    base: Path, low: Path, tmp_path: Path, spoil: Callable[[Path, Path], None], message: str
) -> None:
    spoil(base, low)
    with pytest.raises(FleetError, match=message):
        merged(base, low, tmp_path / "out")


@pytest.mark.parametrize("name", [*SHAPES, "the header"])
def test_the_check_sees_a_wrong_tensor(tmp_path: Path, base: Path, low: Path, name: str) -> None:
    out = tmp_path / "out"
    merged(base, low, out)
    data = bytearray(out.read_bytes())
    with merge.opened(str(base)) as one:
        begin = 9 if name == "the header" else one.header.begin + one.header.tensors[name].span[0]
    data[begin + 1] ^= 0x40
    out.write_bytes(data)
    with pytest.raises(FleetError, match=r"not what was computed|no safetensors file"):
        checked(base, low, out)


def test_the_check_is_of_the_scale_too(tmp_path: Path, base: Path, low: Path) -> None:
    merged(base, low, tmp_path / "out")
    models.adapters(low, base, alpha=str(ALPHA / 2))
    with pytest.raises(FleetError, match="not what was computed"):
        checked(base, low, tmp_path / "out")


def test_the_progress_counts_bytes_up_to_the_whole(base: Path, low: Path) -> None:
    heard: list[tuple[int, int]] = []
    with merge.opened(str(base)) as one, merge.opened(str(low)) as other:
        merge.merge(one, other, io.BytesIO(), lambda *far: heard.append(far))
    assert heard[-1] == (base.stat().st_size,) * 2
    assert heard == sorted(heard)


def test_what_is_written_goes_to_the_disk_piece_by_piece(
    tmp_path: Path, base: Path, low: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else gigabytes wait in the memory that the host's other programs need, and are flushed all at once."""
    there: list[int] = []
    monkeypatch.setattr(merge, "FLUSH", 500)
    monkeypatch.setattr(merge, "BLOCK", 100)
    monkeypatch.setattr(merge, "CELLS", 1)
    monkeypatch.setattr(os, "fdatasync", lambda file: there.append(os.fstat(file).st_size))
    merged(base, low, tmp_path / "out")
    with merge.opened(str(base)) as one:
        header, size = one.header.begin, one.size
    steps = [after - before for before, after in zip([header, *there], [*there, size], strict=True)]
    assert 0 < max(steps) < 1000
