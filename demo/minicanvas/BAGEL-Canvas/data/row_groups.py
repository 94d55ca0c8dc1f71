"""Row groups of a worker of a rank: from files in the info file, shuffled and dealt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RowGroup = tuple[str, int]  # full path of the file, number of the group


def parquet_files(data_dir: str, num_used: int) -> list[str]:
    """The first num_used files in the folder's own order; more than there are means repeats."""
    files = [os.path.join(data_dir, name) for name in os.listdir(data_dir) if name.endswith(".parquet")]
    return (files * (num_used // len(files) + 1))[:num_used]


def known_row_groups(data_dirs: list[str], num_used_data: list[int], parquet_info: dict[str, Any]) -> list[RowGroup]:
    """All row groups of the files whose full path is a key of the info file; other files are skipped without a
    message."""
    groups: list[RowGroup] = []
    for data_dir, num_used in zip(data_dirs, num_used_data, strict=False):
        for path in parquet_files(data_dir, num_used):
            if path in parquet_info:
                groups += [(path, number) for number in range(parquet_info[path]["num_row_groups"])]
    return groups


def of_rank(groups: list[RowGroup], rank: int, world_size: int, seed: int) -> list[RowGroup]:
    """This rank's share after a shuffle with a fixed seed; the remainder of the division is never read.

    Raises IndexError when there is no group at all.
    """
    if not groups:
        raise IndexError("list index out of range")
    ordered = sorted(groups)
    shuffled = [ordered[place] for place in np.random.default_rng(seed).permutation(len(ordered))]
    share = len(shuffled) // world_size
    return shuffled[rank * share : (rank + 1) * share]


def of_worker(groups: list[RowGroup], worker: int, num_workers: int) -> list[RowGroup]:
    """A worker's share of its rank's groups, last one first; nothing when there are fewer groups than workers."""
    if num_workers == 0:
        return groups
    share = len(groups) // num_workers
    return groups[worker * share : (worker + 1) * share][::-1]


def _index_is_float(column: pa.ChunkedArray) -> bool:
    """True when pandas would hand out the items' index as float: it is no integer column, or it has a null."""
    for chunk in column.chunks:
        items = chunk.flatten()
        if "index" in [field.name for field in items.type]:
            index = items.field("index")
            if pa.types.is_floating(index.type) or index.null_count > 0:
                return True
    return False


def _as_float(items: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    if items is None:
        return None
    return [{**item, "index": None if item["index"] is None else float(item["index"])} for item in items]


def read_rows(group: RowGroup) -> Iterator[dict[str, Any]]:
    """The rows of a group as pandas would give them (the real loader's to_pandas), without pandas.

    One null in an integer column makes all of it float there, and images are an array of objects: so a float index
    fails as it does in the real loader.
    """
    with pa.OSFile(group[0]) as source:
        table = pq.ParquetFile(source).read_row_group(group[1])
    rows = table.to_pylist()
    for side in ("question", "solution"):
        interleave, images = f"{side}_interleave", f"{side}_images"
        floats = interleave in table.column_names and _index_is_float(table[interleave])
        for row in rows:
            if floats:
                row[interleave] = _as_float(row[interleave])
            if row.get(images) is not None:
                row[images] = np.array(row[images], dtype=object)
    return iter(rows)
