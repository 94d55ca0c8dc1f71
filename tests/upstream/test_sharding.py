"""Our arithmetic of row groups against the real dataset classes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import row_groups

from tests.upstream.conftest import Drive

CASES = [
    (count, ranks, workers)
    for count in range(1, 161)
    for ranks in (1, 2, 3, 4, 7, 8, 16)
    for workers in (1, 2, 3, 4, 8)
]


def test_starving_and_unseen_are_what_the_real_class_does(drive: Drive) -> None:
    for case, (least, unseen, most) in zip(CASES, drive("groups", cases=CASES)["ok"], strict=True):
        assert row_groups.starving(*case) == (least == 0), case
        assert row_groups.unseen(*case) == unseen, case
        assert least == most, case


def test_the_number_that_we_write_gives_each_worker_of_the_real_class_one_group(drive: Drive) -> None:
    places = [(ranks, workers) for ranks in range(1, 17) for workers in range(1, 9)]
    cases = [(row_groups.needed(ranks, workers), ranks, workers) for ranks, workers in places]
    assert drive("groups", cases=cases)["ok"] == [[1, 0, 1]] * len(cases)


ROWS = [
    (613, 1, 1), (613, 1, 2), (613, 4, 4), (613, 8, 4), (613, 16, 8), (700, 16, 8), (682, 2, 3), (128, 16, 8),
    (129, 16, 8), (255, 16, 8), (1, 1, 1), (7, 1, 7), (8, 1, 7), (16, 4, 4), (17, 4, 4), (100, 3, 5), (99, 7, 6),
    (612, 8, 8), (333, 5, 4), (60, 15, 4),
]  # fmt: skip


@pytest.mark.parametrize(("count", "ranks", "workers"), ROWS, ids=lambda number: str(number))
def test_no_row_is_lost_and_no_worker_starves(
    drive: Drive, tmp_path: Path, count: int, ranks: int, workers: int
) -> None:
    sizes = row_groups.row_groups(count, ranks, workers)
    path, start = tmp_path / "train_split.parquet", 0
    with pq.ParquetWriter(path, pa.schema([("task_id", pa.int64())])) as writer:
        for size in sizes:
            writer.write_table(pa.table({"task_id": range(start, start + size)}), row_group_size=size)
            start += size
    info = {str(path): {"num_row_groups": len(sizes), "num_rows": count}}
    told = drive("rows", folder=str(tmp_path), info=info, ranks=ranks, workers=workers)
    assert "ok" in told, told
    assert sorted(one for share in told["ok"] for one in share) == list(range(count))
    lengths = {len(share) for share in told["ok"]}
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1
