import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.copy import group_sizes, write_copy
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.row_groups import row_groups
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support.dataset_files import parsed, row, write, write_grouped


def copied(source, tmp_path, sizes, without=()):
    part = tmp_path / ".copy.part"
    write_copy(str(source), part, sizes, without, lambda done: None)
    return part


def test_the_trainer_drops_every_row_of_the_users_file_and_none_of_the_copy(tmp_path):
    source = write(tmp_path / "a.parquet", [row(n) for n in range(9)])
    with pytest.raises(TypeError, match="indices must be integers"):
        parsed(pq.read_table(source).to_pandas().iloc[0])
    file = pq.ParquetFile(copied(source, tmp_path, row_groups(9, 2, 2)))
    images = [
        parsed(values)
        for group in range(file.metadata.num_row_groups)
        for _, values in file.read_row_group(group).to_pandas().iterrows()
    ]
    assert images == [3] * 9


def test_all_columns_rows_and_their_order_are_kept(tmp_path):
    source = write(tmp_path / "a.parquet", [row(n) for n in range(9)])
    was, now = pq.read_table(source), pq.read_table(copied(source, tmp_path, (5, 4)))
    assert now.column_names == was.column_names
    for name in ("task_id", "answer", "question_images", "solution_images"):
        assert now[name].to_pylist() == was[name].to_pylist()
    for name in ("question_interleave", "solution_interleave"):
        filled = [[{**item, "index": int(item["index"] or 0)} for item in items] for items in was[name].to_pylist()]
        assert now[name].to_pylist() == filled


def test_index_is_int64_without_nulls(tmp_path):
    source = write(tmp_path / "a.parquet", [row(n) for n in range(3)])
    assert pq.read_table(source).schema.field("solution_interleave").type.value_type.field("index").type == pa.float64()
    now = pq.read_table(copied(source, tmp_path, (3,)))
    index = now["solution_interleave"].combine_chunks().flatten().field("index")
    assert (index.type, index.null_count) == (pa.int64(), 0)


def test_each_row_group_stands_alone_although_pandas_had_an_index(tmp_path):
    frame = pq.read_table(write(tmp_path / "a.parquet", [row(n) for n in range(6)])).to_pandas()
    frame.iloc[[5, 3, 4, 2, 1, 0]].to_parquet(tmp_path / "b.parquet")
    file = pq.ParquetFile(copied(tmp_path / "b.parquet", tmp_path, (3, 3)))
    group = file.read_row_group(1).to_pandas()
    assert list(group.index) == [0, 1, 2]  # the loader resumes by this number inside the group
    assert list(group["task_id"]) == [2, 1, 0]


def test_the_same_rows_give_the_same_bytes(tmp_path):
    source = write(tmp_path / "a.parquet", [row(n) for n in range(9)])
    first = copied(source, tmp_path, (5, 4)).read_bytes()
    assert copied(source, tmp_path, (5, 4)).read_bytes() == first


@settings(deadline=None)  # each example writes two files, and the machine may be busy
@given(
    rows=st.integers(1, 30),
    group=st.integers(1, 12),
    cut=st.integers(1, 6),
    without=st.sets(st.integers(0, 29), max_size=20),
)
def test_any_grouping_of_the_source_gives_the_wanted_groups(tmp_path_factory, rows, group, cut, without):
    left = [number for number in range(rows) if number not in without]
    if len(left) < cut:
        return
    folder = tmp_path_factory.mktemp("copy")
    source = write_grouped(folder / "a.parquet", [{**SMALL, "task_id": number} for number in range(rows)], group)
    sizes = row_groups(len(left), cut, 1)
    file = pq.ParquetFile(copied(source, folder, sizes, without))
    meta = file.metadata
    assert tuple(meta.row_group(place).num_rows for place in range(meta.num_row_groups)) == sizes
    assert file.read()["task_id"].to_pylist() == left


SMALL = row(0, question_images=[{"bytes": b"q"}], solution_images=[{"bytes": b"s"}])


@pytest.mark.parametrize(
    ("groups", "without", "left"),
    [
        pytest.param((4, 4), (), (4, 4), id="nothing left out"),
        pytest.param((4, 4), (0, 7), (3, 3), id="one row of each group"),
        pytest.param((2, 4), (0, 1), (4,), id="a group that loses all its rows is gone"),
    ],
)
def test_groups_of_the_source_less_the_bad_rows(groups, without, left):
    assert group_sizes(groups, without) == left
