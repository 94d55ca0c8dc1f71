"""The demo's trainer without torch: rows into samples, samples into batches, and how both get lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.unit.support.places import ROOT

TRAINER = ROOT / "demo/minicanvas/BAGEL-Canvas"
sys.path.insert(0, str(TRAINER))

from data import interleave, packing, row_groups, tokens  # noqa: E402
from modeling.tokenizer import Tokenizer  # noqa: E402

from demo.minicanvas import tiny_model  # noqa: E402

VAE = {"image_stride": 16, "max_image_size": 512, "min_image_size": 512}
VIT = {**VAE, "image_stride": 14}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model.write_model(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(model: Path) -> Tokenizer:
    return Tokenizer.from_folder(model)


# rows


def interleave_column(kind: str) -> pa.Array:
    """Two rows of a text and a picture, with the column `index` as the user's converters leave it."""
    index = {"int64 without nulls": 0, "int64 with nulls": None, "double with nulls": None}[kind]
    rows = [[{"type": "text", "content": "x", "index": index}, {"type": "image", "content": "", "index": 0}]] * 2
    number = pa.float64() if kind.startswith("double") else pa.int64()
    fields = [("type", pa.string()), ("content", pa.string()), ("index", number)]
    return pa.array(rows, pa.list_(pa.struct(fields)))


@pytest.mark.parametrize("kind", ["int64 without nulls", "int64 with nulls", "double with nulls"])
def test_rows_come_as_pandas_gives_them(kind: str, tmp_path: Path) -> None:
    column = interleave_column(kind)
    images = pa.array([[{"bytes": b"1"}]] * 2)
    table = pa.table({"question_interleave": column, "solution_interleave": column, "question_images": images})
    pq.write_table(table, tmp_path / "f.parquet")
    expected = pq.ParquetFile(tmp_path / "f.parquet").read_row_group(0).to_pandas()
    for mine, (_, theirs) in zip(
        row_groups.read_rows((str(tmp_path / "f.parquet"), 0)), expected.iterrows(), strict=True
    ):
        for one, other in zip(mine["question_interleave"], theirs["question_interleave"], strict=True):
            assert type(one["index"]) is type(other["index"]) or pd.isna(other["index"])
            assert one["type"] == other["type"]
        assert mine["question_images"][0] == theirs["question_images"][0]


def png(size: tuple[int, int] = (128, 96), mode: str = "RGB") -> bytes:
    out = BytesIO()
    Image.new(mode, size).save(out, format="PNG")
    return out.getvalue()


def a_row(**changes: Any) -> dict[str, Any]:
    text, picture = {"type": "text", "content": "Move the cube", "index": 0}, {"type": "image", "index": 0}
    images = np.array([{"bytes": png()}], dtype=object)
    row = {
        "answer": "A",
        "question_interleave": [text, picture],
        "solution_interleave": [text, picture, text],
        "question_images": images,
        "solution_images": images,
    }
    return {**row, **changes}


@pytest.fixture
def rows(tokenizer: Tokenizer) -> interleave.ReasoningRows:
    made = interleave.ReasoningRows.__new__(interleave.ReasoningRows)
    made.tokenizer, made.dataset_name, made.rank, made.data_status = tokenizer, "interleave_reasoning", 0, None
    made.transform, made.vit_transform = tokens.ImageTransform(**VAE), tokens.ImageTransform(**VIT)
    return made


def test_a_good_row_becomes_its_items(rows: interleave.ReasoningRows, tokenizer: Tokenizer) -> None:
    sample = rows.parse_row(a_row())
    assert [(item.kind, item.loss) for item in sample.items] == [
        ("text", False), ("vae_image", False), ("vit_image", False),
        ("text", True), ("vae_image", True), ("vae_image", False), ("vit_image", False), ("text", True),
    ]  # fmt: skip
    labels = [item.label for item in sample.items if item.kind == "text"]
    assert labels == [None, tokenizer.token_id("<|vision_start|>"), tokenizer.token_id("<|endoftext|>")]
    text = len(tokenizer.encode("Move the cube"))
    assert sample.num_tokens == 3 * (text + 2) + (768 + 2) * 3 + (1036 + 2) * 2


BROKEN = np.array([{"bytes": b"no picture"}], dtype=object)
FLOAT = [{"type": "image", "index": 0.0}]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"answer": ""}, "", id="no answer: without a word"),
        pytest.param({"solution_interleave": []}, "", id="an empty solution: without a word"),
        pytest.param({"question_interleave": FLOAT}, "only integers, slices", id="a float index"),
        pytest.param({"question_interleave": [{"type": "image", "index": None}]}, "Failed to load", id="a null index"),
        pytest.param({"question_images": BROKEN}, "Failed to load image with index 0", id="an undecodable picture"),
        pytest.param({"solution_images": BROKEN[:0]}, "Image index 0 out of bounds", id="an index out of range"),
        pytest.param({"question_interleave": None}, "Error parsing row", id="a null side"),
    ],
)
def test_a_bad_row_is_dropped(
    changes: dict[str, Any], said: str, rows: interleave.ReasoningRows, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rows.parse_row(a_row(**changes)).items == []
    out = capsys.readouterr().out
    assert said in out if said else out == ""


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA"])
def test_a_picture_of_any_mode_is_read(mode: str, rows: interleave.ReasoningRows) -> None:
    images = np.array([{"bytes": png(mode=mode)}], dtype=object)
    assert rows.parse_row(a_row(question_images=images)).items[1].pixels.shape == (24, 32, 3)


def stopped_after(count: int, said: list[str]) -> Any:
    """A print that gives up: an endless loop can't be waited for."""

    def say(*words: object) -> None:
        said.append(" ".join(map(str, words)))
        if len(said) >= count:
            raise KeyboardInterrupt

    return say


def test_a_worker_without_a_row_group_repeats_for_ever(
    rows: interleave.ReasoningRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(interleave, "print", stopped_after(1000, said), raising=False)
    rows.rank_groups = [("/nowhere", 0)]  # one group for two workers
    with pytest.raises(KeyboardInterrupt):
        next(rows.samples(1, 2))
    assert said[0] == "rank-0 worker-1 dataset-interleave_reasoning: resuming data at global_rg#0, row#0"
    assert set(said[1:]) == {"interleave_reasoning repeat in rank-0 worker-1"}


def written(folder: Path, rows_per_group: list[int]) -> list[row_groups.RowGroup]:
    path = folder / "train_split.parquet"
    item = pa.list_(pa.struct([("type", pa.string()), ("content", pa.string()), ("index", pa.int64())]))
    image = pa.list_(pa.struct([("bytes", pa.binary())]))
    schema = pa.schema(
        [
            ("answer", pa.string()),
            ("question_interleave", item),
            ("solution_interleave", item),
            ("question_images", image),
            ("solution_images", image),
        ]
    )
    plain = {**a_row(), "question_images": [{"bytes": png()}], "solution_images": [{"bytes": png()}]}
    with pq.ParquetWriter(path, schema) as writer:
        for count in rows_per_group:
            writer.write_table(pa.Table.from_pylist([plain] * count, schema=schema))
    return [(str(path), number) for number in range(len(rows_per_group))]


def test_samples_say_where_they_stood_and_go_on_from_there(rows: interleave.ReasoningRows, tmp_path: Path) -> None:
    rows.rank_groups = written(tmp_path, [3, 2])
    first = [sample.position for sample in islice(rows.samples(0, 1), 7)]
    assert first == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2], [0, 0], [0, 1]]  # the last group comes first
    rows.data_status = {0: first[2]}
    assert [sample.position for sample in islice(rows.samples(0, 1), 3)] == [[1, 1], [1, 2], [0, 0]]
    with pytest.raises(KeyError):
        next(rows.samples(1, 2))  # more workers than before


# packing


def endless(lengths: list[int]) -> Iterator[interleave.Sample]:
    number = 0
    while True:
        item = interleave.Item("text", True, False, lengths[number % len(lengths)] - 2)
        yield interleave.Sample([item], [0, number], "d", 0)
        number += 1


def packed(lengths: list[int], batches: int, mandatory: bool = True, **changes: int) -> list[packing.Batch]:
    budgets = packing.Budgets(
        **{"expected_num_tokens": 8192, "max_num_tokens": 8192, "max_num_tokens_per_sample": 8192,
           "prefer_buffer_before": 8192, **changes}
    )  # fmt: skip
    group = packing.Group(endless(lengths), 1.0, mandatory)
    packer = packing.Packer([group], budgets, {"text": 0.0}, np.random.default_rng(0))
    return list(islice(packer.batches(), batches))


def test_the_guides_budgets_throw_half_of_the_samples_away() -> None:
    batches = packed([7000], 20)
    used = [position[1] for batch in batches for _, _, position in batch.indexes]
    assert used == list(range(0, 40, 2))  # 40 parsed, 20 used


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(10, 8000), min_size=1, max_size=6))
def test_with_room_for_two_nothing_is_thrown_away(lengths: list[int]) -> None:
    longest = max(lengths)
    batches = packed(lengths, 12, max_num_tokens=max(2 * longest, 8192 + longest))
    used = sorted(position[1] for batch in batches for _, _, position in batch.indexes)
    assert used == list(range(len(used)))
    assert all(batch.length >= 8192 for batch in batches)


@pytest.mark.parametrize("mandatory", [True, False])
def test_a_sample_that_is_too_long_is_always_skipped(mandatory: bool, capsys: pytest.CaptureFixture[str]) -> None:
    batches = packed([9000, 4100], 3, mandatory, max_num_tokens=20000)
    assert {length for batch in batches for length in batch.sample_lens} == {4100}
    assert "skip a sample with length 9000\n" in capsys.readouterr().out


def test_only_samples_that_are_too_long_loop_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(packing, "print", stopped_after(500, said), raising=False)
    with pytest.raises(KeyboardInterrupt):
        packed([9000], 1)
    assert set(said) == {"skip a sample with length 9000"}


def test_no_weight_at_all_is_refused() -> None:
    packer = packing.Packer([], packing.Budgets(1, 1, 1, 1), {}, np.random.default_rng(0))
    with pytest.raises(AssertionError):
        next(packer.batches())


def test_left_out_items_cost_nothing_but_one_view_of_the_picture_stays(rows: interleave.ReasoningRows) -> None:
    sample = rows.parse_row(a_row())
    group = packing.Group(iter([sample, sample]), 1.0, True)
    budgets = packing.Budgets(1, 30000, 30000, 0)
    drop = {"text": 1.0, "vae_image": 1.0, "vit_image": 1.0}
    batch = next(packing.Packer([group], budgets, drop, np.random.default_rng(0)).batches())
    assert sorted(item.kind for item in batch.samples[0]) == ["vae_image", "vit_image"]  # the learnt one, and one view
    assert batch.sample_lens[0] == 770 + 1038
