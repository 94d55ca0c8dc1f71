"""Writes the training copy: the same rows in the same order, in other row groups, with an index that holds no null.

Byte-deterministic for one version of pyarrow. Memory: one row group of the copy and some megabytes of the source.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ...system import files
from .rows import SIDES, batches, open_parquet

INTERLEAVE = tuple(f"{side}_interleave" for side in SIDES)


def write_copy(
    source: str, part: Path, sizes: Sequence[int], without: Collection[int], on_progress: Callable[[int], None]
) -> None:
    """Write `source` without the rows `without` to `part`, in row groups of these sizes."""
    pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")

    files.remove(part)
    file = open_parquet(source)
    rows = _mended(file, source, frozenset(without))
    first = next(rows)
    left: Iterator[Any] = itertools.chain([first], rows)
    done = 0
    # small batches: the writer looks at a page's size only after each, and a page of a hundred images is a big page
    options: dict[str, Any] = {"use_dictionary": False, "write_statistics": False, "write_batch_size": 16}
    with pq.ParquetWriter(part, first.schema, **options) as writer:
        pending: Any = None
        for size in sizes:
            taken, missing = [], size
            while missing:
                batch = pending if pending is not None else next(left)
                now = batch.slice(0, missing)
                pending = batch.slice(missing) if batch.num_rows > missing else None
                taken.append(now)
                missing -= now.num_rows
            writer.write_table(pa.Table.from_batches(taken), row_group_size=size)
            done += size
            on_progress(done)
    files.sync(part)


def group_sizes(inspection_groups: Sequence[int], without: Collection[int]) -> tuple[int, ...]:
    """Sizes of the file's own groups without the rows left out; an empty group is dropped."""
    left, start = [], 0
    for size in inspection_groups:
        left.append(size - sum(1 for row in without if start <= row < start + size))
        start += size
    return tuple(size for size in left if size)


def _mended(file: Any, source: str, without: frozenset[int]) -> Iterator[Any]:
    pa = import_module("pyarrow")

    row = 0
    for batch in batches(file, source):
        if without:
            keep = [row + place not in without for place in range(batch.num_rows)]
            row += batch.num_rows
            batch = batch.filter(pa.array(keep, pa.bool_()))
        if batch.num_rows:
            yield whole_indexes(batch)


def whole_indexes(batch: Any) -> Any:
    """The batch with each `index` as int64, and 0 where there was none (text items have no use for it).

    pandas' metadata about its index is dropped, because it describes the whole file and the loader reads single groups.
    """
    pa = import_module("pyarrow")

    columns = list(batch.columns)
    for name in INTERLEAVE:
        place = batch.schema.get_field_index(name)
        columns[place] = _whole_index(columns[place])
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _whole_index(column: Any) -> Any:
    pa, pc = import_module("pyarrow"), import_module("pyarrow.compute")

    items = column.flatten()  # of a struct: its members, with the nulls of the struct itself
    kind = items.type
    members = dict(zip([member.name for member in kind], items.flatten()))
    index = members["index"]
    if pa.types.is_floating(index.type):
        index = pc.if_else(pc.is_nan(index), pa.scalar(None, index.type), index)
    members["index"] = pc.fill_null(pc.cast(index, pa.int64()), 0)
    structs = pa.StructArray.from_arrays(list(members.values()), names=list(members))
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    offsets = list(itertools.accumulate(lengths, initial=0))
    if pa.types.is_large_list(column.type):
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), structs)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)
