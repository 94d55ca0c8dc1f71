"""The demo's trainer without torch: its flags, its registration, its row groups, what a picture costs."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support.places import ROOT

TRAINER = ROOT / "demo/minicanvas/BAGEL-Canvas"
sys.path.insert(0, str(TRAINER))

from data import row_groups, tokens  # noqa: E402
from train.arguments import parse  # noqa: E402

VAE = {"image_stride": 16, "max_image_size": 512, "min_image_size": 512}
VIT = {**VAE, "image_stride": 14}


# flags


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        pytest.param(["--resume_from", "/m"], "resume_from", "/m", id="with underscores"),
        pytest.param(["--resume-from", "/m"], "resume_from", "/m", id="with dashes"),
        pytest.param([], "resume_from", None, id="weights are not loaded by default"),
        pytest.param(["--auto_resume", "True"], "auto_resume", True, id="True as a word"),
        pytest.param(["--freeze_vae", "false"], "freeze_vae", False, id="false as a word"),
        pytest.param(["--use_flex"], "use_flex", True, id="a bare flag is true"),
        pytest.param(["--no_freeze_vae"], "freeze_vae", False, id="what is true by default can be negated"),
        pytest.param(["--lr", "1e-5"], "lr", 1e-5, id="a float"),
    ],
)
def test_a_flag_is_read(argv: list[str], name: str, value: object) -> None:
    assert getattr(parse(argv)[2], name) == value


def test_an_unknown_flag_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="not used by the HfArgumentParser: \\['--learning_rate', '1'\\]"):
        parse(["--learning_rate", "1"])


@pytest.mark.parametrize("argv", [["--num_workers", "two"], ["--use_flex", "perhaps"], ["--max_grad_norm", "0.5"]])
def test_a_value_of_the_wrong_type_ends_the_program(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(argv)
    assert end.value.code == 2


# registration


def test_the_registration_is_as_irregular_as_real_ones() -> None:
    text = (TRAINER / "data/dataset_info.py").read_text()
    assert not text.endswith("\n")
    assert "\n\t\t},\n    },\n" in text
    assert "'num_files': 128, #" in text
    assigned = {n.targets[0].id: n.value for n in ast.parse(text).body if isinstance(n, ast.Assign)}
    info = ast.literal_eval(assigned["DATASET_INFO"])
    registry = {ast.literal_eval(key) for key in assigned["DATASET_REGISTRY"].keys}
    assert set(info) <= registry
    assert len(info) >= 5
    assert set(info["interleave_reasoning"]["proofs_with_pictures"]) == {
        "data_dir", "num_files", "parquet_info_path", "num_total_samples",
    }  # fmt: skip


# files and row groups


def test_more_files_than_there_are_means_repeats(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet", "notes.txt"):
        (tmp_path / name).touch()
    files = row_groups.parquet_files(str(tmp_path), 5)
    assert len(files) == 5
    assert sorted(set(files)) == [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    assert files[:2] == files[2:4]


def test_a_file_that_the_info_does_not_name_by_its_full_path_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    known = {str(tmp_path / "a.parquet"): {"num_row_groups": 3}}
    elsewhere = {"/home/ubuntu/a.parquet": {"num_row_groups": 3}}
    assert len(row_groups.known_row_groups([str(tmp_path)], [1], known)) == 3
    assert row_groups.known_row_groups([str(tmp_path)], [1], elsewhere) == []


def test_no_row_group_at_all_dies_at_once() -> None:
    with pytest.raises(IndexError, match="list index out of range"):
        row_groups.of_rank([], 0, 1, 42)


@settings(deadline=None)
@given(groups=st.integers(1, 90), world=st.integers(1, 8), workers=st.integers(0, 5), seed=st.integers(0, 99))
def test_row_groups_are_dealt_once_and_the_remainders_are_lost(
    groups: int, world: int, workers: int, seed: int
) -> None:
    all_groups = [("f", number) for number in range(groups)]
    dealt = [
        row_groups.of_worker(row_groups.of_rank(all_groups, rank, world, seed), worker, workers)
        for rank in range(world)
        for worker in range(max(1, workers))
    ]
    share = groups // world // max(1, workers)
    flat = [group for part in dealt for group in part]
    assert {len(part) for part in dealt} == {share}
    assert len(set(flat)) == len(flat) == share * world * max(1, workers)


# tokens


@pytest.mark.parametrize(
    ("size", "vae", "vit"),
    [
        pytest.param((512, 512), 1024, 1369, id="a square of 512"),
        pytest.param((128, 96), 768, 1036, id="a picture of the puzzles"),
        pytest.param((4000, 3000), 768, 1036, id="a large one of the same form"),
        pytest.param((2000, 100), 64, 74, id="a strip"),
    ],
)
def test_a_picture_costs(size: tuple[int, int], vae: int, vit: int) -> None:
    assert (tokens.ImageTransform(**VAE).tokens(*size), tokens.ImageTransform(**VIT).tokens(*size)) == (vae, vit)


@settings(deadline=None)
@given(width=st.integers(1, 5000), height=st.integers(1, 5000), stride=st.sampled_from([14, 16]))
def test_sizes_are_multiples_of_the_stride_and_at_most_one_over_512(width: int, height: int, stride: int) -> None:
    wide, high = tokens.ImageTransform(512, 512, stride).size(width, height)
    assert wide % stride == high % stride == 0
    assert max(wide, high) <= 512 + stride
