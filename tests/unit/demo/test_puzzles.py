"""The puzzles are right, and their files have the faults of the user's own files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.letter import letter_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from demo.puzzles import blocks, generate, pictures, puzzle


def stack(**columns: tuple[str, ...]) -> blocks.Stack:
    """Columns by name: c00 is (0, 0), c21 is x 2, y 1."""
    return blocks.Stack(tuple(columns.get(f"c{i % 3}{i // 3}", ()) for i in range(9)))


@pytest.mark.parametrize(
    ("before", "move", "after"),
    [
        pytest.param(
            stack(c00=("red",)), blocks.Move(0, 0, 0, "right"), stack(c10=("red",)), id="a free cube moves one unit"
        ),
        pytest.param(
            stack(c00=("red", "blue")),
            blocks.Move(0, 0, 0, "backward"),
            stack(c00=("blue",), c01=("red",)),
            id="what stood on it falls down",
        ),
        pytest.param(
            stack(c00=("red",), c10=("blue",)),
            blocks.Move(0, 0, 0, "right"),
            stack(c00=("blue",), c10=("red",)),
            id="two cubes change places",
        ),
        pytest.param(
            stack(c00=("red", "blue", "green")),
            blocks.Move(0, 0, 2, "right"),
            stack(c00=("red", "blue"), c10=("green",)),
            id="a cube pushed over the edge falls to the floor",
        ),
    ],
)
def test_a_move(before: blocks.Stack, move: blocks.Move, after: blocks.Stack) -> None:
    assert before.after(move) == after


def test_a_move_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no cube"):
        stack(c00=("red",)).after(blocks.Move(1, 1, 0, "left"))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_exactly_one_option_is_right(seed: int) -> None:
    made = puzzle.make_puzzle(np.random.default_rng(seed))
    ends = {letter: puzzle.follow(made.start, moves) for letter, moves in made.options.items()}
    assert [letter for letter in "ABCD" if ends[letter] == made.states[-1]] == [made.answer]
    assert made.states[-1] != made.start


def test_the_paper_of_a_question_has_the_colour_of_its_answer() -> None:
    """A model as small as the demo's can learn this in a minute."""
    seen = {}
    for made in puzzle.puzzles(40, seed=3):
        data = pictures.composite(made.start, made.states[-1], made.answer)
        seen.setdefault(made.answer, set()).add(Image.open(io.BytesIO(data)).convert("RGB").getpixel((0, 0)))
    assert seen == {letter: {colour} for letter, colour in pictures.PAPERS.items()}


def test_each_text_of_a_solution_names_the_answer_in_the_same_words() -> None:
    made = next(puzzle.puzzles(1))
    texts = puzzle.solution_texts(made)
    assert len(texts) == len(made.moves) + 1
    assert {text[:8] for text in texts} == {f"Option {made.answer}"}
    assert letter_of("\n".join(texts)) == made.answer


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_cube_is_lost_on_the_way(seed: int) -> None:
    made = puzzle.make_puzzle(np.random.default_rng(seed))
    cubes = [sorted(c for column in state.columns for c in column) for state in [made.start, *made.states]]
    assert all(c == cubes[0] for c in cubes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("output")
    generate.write_dataset(path, rows_train=18, rows_test=3)
    return path


def test_the_column_index_is_float_with_nulls(folder: Path) -> None:
    file = pq.ParquetFile(folder / "train_split.parquet")
    item = file.schema_arrow.field("question_interleave").type.value_type
    assert item.field("index").type == pa.float64()
    row = file.read().to_pylist()[0]
    assert [i["index"] for i in row["question_interleave"]] == [None, 0.0]


@pytest.mark.parametrize(("name", "rows"), [("train", 18), ("test", 3)])
def test_each_file_has_one_row_group_and_the_users_columns(folder: Path, name: str, rows: int) -> None:
    file = pq.ParquetFile(folder / f"{name}_split.parquet")
    assert (file.metadata.num_row_groups, file.metadata.num_rows) == (1, rows)
    assert file.schema_arrow.names == [
        "task_id", "answer", "question_interleave", "solution_interleave", "question_images", "solution_images",
    ]  # fmt: skip


def test_the_info_files_have_the_users_two_forms(folder: Path) -> None:
    train = json.loads((folder / "train_split_info.json").read_text())
    test = json.loads((folder / "test_split_info.json").read_text())
    assert train == {f"{generate.FOREIGN_FOLDER}/train_split.parquet": {"num_row_groups": 1, "num_rows": 18}}
    assert test == {"num_samples": 3, "file_path": f"{generate.FOREIGN_FOLDER}/test_split.parquet"}
    assert generate.FOREIGN_FOLDER.startswith("/home/ubuntu/")


def test_train_and_test_are_the_split_of_seed_42(folder: Path) -> None:
    order = np.random.RandomState(42).permutation(21) + 1
    train, test = (pd.read_parquet(folder / f"{n}_split.parquet")["task_id"].tolist() for n in ("train", "test"))
    assert (train, test) == (order[:18].tolist(), order[18:].tolist())


def test_every_image_item_has_its_picture(folder: Path) -> None:
    for row in pq.read_table(folder / "train_split.parquet").to_pylist():
        for side in ("question", "solution"):
            pointers = [i["index"] for i in row[f"{side}_interleave"] if i["type"] == "image"]
            assert pointers == list(range(len(row[f"{side}_images"])))
            assert pointers
            sizes = {Image.open(io.BytesIO(i["bytes"])).size for i in row[f"{side}_images"]}
            assert sizes == {(128, 96)}


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    generate.write_dataset(tmp_path, rows_train=18, rows_test=3)
    for file in folder.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()
