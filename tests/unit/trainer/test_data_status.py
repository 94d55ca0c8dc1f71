"""The loader workers that a checkpoint knows of, read from the pickle of torch.save without unpickling it."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import data_status
from hypothesis import given
from hypothesis import strategies as st

SINGLE = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text()
PLAIN = st.recursive(
    SINGLE,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.integers(0, 99) | st.text(), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(value=PLAIN, protocol=st.integers(2, 5))
def test_plain_data_is_read_as_python_reads_it(value: Any, protocol: int) -> None:
    assert data_status.plain(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("value", [Path("/x"), {1, 2}, print, complex(1, 2)], ids=repr)
def test_what_makes_other_values_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="in a data status"):
        data_status.plain(pickle.dumps(value, 2))


def test_the_workers_of_each_rank_are_those_of_the_group(tmp_path: Path) -> None:
    ranks = [{"mine": {1: [0, 5], 0: [2, 7]}, "other": {9: [0, 0]}}, None, {"mine": {3: [1, 1]}}]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data_status/data.pkl", pickle.dumps(ranks, 2))
    path = tmp_path / "data_status.pt"
    path.write_bytes(out.getvalue())
    assert data_status.workers(str(path), "mine") == [[0, 1], [], [3]]
    path.write_bytes(out.getvalue()[:-30])
    assert data_status.workers(str(path), "mine") is None
