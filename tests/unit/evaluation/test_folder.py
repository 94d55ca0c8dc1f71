"""The folder of evaluations: lines, cuts, other work, hostile content."""

from __future__ import annotations

import json
import os
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.folder import Place
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.wire import (
    About,
    AnswerRow,
    LossRow,
    Picture,
    QuestionRow,
    Text,
)

ABOUT = About(
    schema=1,
    mode="loss",
    subject="0001530",
    step=1530,
    weights_file="ema.safetensors",
    weights_digest="a" * 64,
    data_digest="b" * 64,
    rows=69,
    code_commit="c" * 40,
    seed=42,
    settings={"num_timesteps": 50, "do_sample": False, "cfg_text_scale": 4.0, "cfg_renorm_type": "global"},
    version="1.0.0",
    started="2026-11-30T02:00:00+00:00",
)
ANSWER = AnswerRow(3, "B", (Text("text", "The answer is B."), Picture("image", "00003-1.png", 512, 384)), 7, 1, 2.5)


def place(tmp_path: Path, mode: str = "loss") -> Place:
    return Place(str(tmp_path), "0001530", mode)


def loss(row: int) -> LossRow:
    return LossRow(row, 0.25 * row, None, 10, 0)


def filled(tmp_path: Path, rows: int = 3) -> Place:
    there = place(tmp_path)
    folder.begin(there, ABOUT)
    for row in range(rows):
        folder.append(there.rows, loss(row))
    return there


def test_rows_come_back_in_order_and_once(tmp_path: Path) -> None:
    there = place(tmp_path)
    assert folder.begin(there, ABOUT) == set()
    for row in (2, 0, 1, 2):
        folder.append(there.rows, loss(row))
    assert folder.rows_in(there) == [loss(0), loss(1), loss(2)]
    assert folder.about_in(there) == ABOUT


@pytest.mark.parametrize("kept", range(1, 40, 3))
def test_a_line_that_was_cut_off_costs_one_row(tmp_path: Path, kept: int) -> None:
    there = filled(tmp_path)
    whole = Path(there.rows).read_bytes()
    before, last = whole[:-1].rsplit(b"\n", 1)
    Path(there.rows).write_bytes(before + b"\n" + last[: min(kept, len(last) - 1)])
    assert folder.begin(there, ABOUT) == {0, 1}
    folder.append(there.rows, loss(2))
    assert folder.rows_in(there) == [loss(0), loss(1), loss(2)]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"weights_digest": "d" * 64}, id="weights"),
        pytest.param({"weights_file": "model.safetensors"}, id="file"),
        pytest.param({"data_digest": "d" * 64}, id="data"),
        pytest.param({"seed": 43}, id="seed"),
        pytest.param({"settings": {"num_timesteps": 10}}, id="settings"),
        pytest.param({"code_commit": "d" * 40}, id="code"),
    ],
)
def test_another_work_begins_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    there = filled(tmp_path)
    assert folder.begin(there, replace(ABOUT, **change)) == set()
    assert not Path(there.rows).exists()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"rows": 10}, id="fewer rows"),
        pytest.param({"version": "9.9.9"}, id="a newer program"),
        pytest.param({"started": "2026-12-01T00:00:00+00:00", "device": "cpu", "ended": None}, id="another time"),
    ],
)
def test_the_same_work_goes_on(tmp_path: Path, change: dict[str, Any]) -> None:
    assert folder.begin(filled(tmp_path), replace(ABOUT, **change)) == {0, 1, 2}


def test_another_mode_and_subject_stay(tmp_path: Path) -> None:
    there, other = filled(tmp_path), place(tmp_path, "answers")
    folder.begin(other, replace(ABOUT, mode="answers"))
    folder.append(other.rows, ANSWER)
    folder.begin(other, replace(ABOUT, mode="answers", seed=1))
    assert len(folder.rows_in(there)) == 3
    assert folder.places(str(tmp_path)) == [there, other]


def test_answers_keep_text_and_pictures(tmp_path: Path) -> None:
    there = place(tmp_path, "answers")
    folder.begin(there, replace(ABOUT, mode="answers"))
    folder.append(there.rows, ANSWER)
    assert folder.rows_in(there) == [ANSWER]
    assert Path(there.pictures).is_dir()


def test_base_comes_first(tmp_path: Path) -> None:
    for name, step in (("0001530", 1530), ("base", None), ("0000510", 510), ("0001530-merged", 1530)):
        folder.begin(Place(str(tmp_path), name, "loss"), replace(ABOUT, subject=name, step=step))
    found = [one.subject for one in folder.places(str(tmp_path))]
    assert found == ["base", "0000510", "0001530", "0001530-merged"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"row": -1, "ce": 1, "mse": 1, "ce_tokens": 1, "mse_tokens": 1}', id="a negative row"),
        pytest.param(b'{"row": 1e9, "ce": 1, "mse": 1, "ce_tokens": 1, "mse_tokens": 1}', id="no whole row"),
        pytest.param(b'{"row": 1000000, "ce": 1, "mse": 1, "ce_tokens": 1, "mse_tokens": 1}', id="too far a row"),
        pytest.param(b'{"row": 1, "ce": "1", "mse": 1, "ce_tokens": 1, "mse_tokens": 1}', id="a text"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
    ],
)
def test_a_broken_line_is_none(tmp_path: Path, line: bytes) -> None:
    there = filled(tmp_path, 1)
    with Path(there.rows).open("ab") as out:
        out.write(line + b"\n")
    assert folder.rows_in(there) == [loss(0)]


def test_a_file_of_empty_lines_costs_little(tmp_path: Path) -> None:
    """Each of them would be an object: 64 MiB of newlines made half a gigabyte."""
    there = filled(tmp_path, 1)
    with Path(there.rows).open("ab") as out:
        out.write(b"\n" * (48 << 20))
    tracemalloc.start()
    try:
        assert folder.rows_in(there) == [loss(0)]
        assert tracemalloc.get_traced_memory()[1] < 4 * (48 << 20)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "00003-1.png/x", "00003-1.svg", "x" * 300, ""])
def test_a_picture_with_another_name_is_dropped(tmp_path: Path, name: str) -> None:
    there = place(tmp_path, "answers")
    folder.begin(there, replace(ABOUT, mode="answers"))
    bad = replace(ANSWER, parts=(*ANSWER.parts, Picture("image", name, 1, 1)))
    folder.append(there.rows, bad)
    assert folder.rows_in(there) == [ANSWER]
    rows = folder.rows_folder(str(tmp_path))
    os.makedirs(rows)
    folder.append(f"{rows}/rows.jsonl", QuestionRow(0, "a", "A", bad.parts, bad.parts))
    assert folder.questions_in(str(tmp_path)) == [QuestionRow(0, "a", "A", ANSWER.parts, ANSWER.parts)]


def test_a_link_is_not_read(tmp_path: Path) -> None:
    there = filled(tmp_path)
    os.rename(there.rows, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", there.rows)
    assert folder.rows_in(there) == []


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    there = filled(tmp_path)
    os.truncate(there.rows, folder.FILE + 1)
    assert folder.rows_in(there) == []


def test_an_about_of_another_place_is_none(tmp_path: Path) -> None:
    there = filled(tmp_path)
    Path(there.about).write_text(json.dumps(wire.to_dict(replace(ABOUT, subject="base"))))
    assert folder.about_in(there) is None


def test_names() -> None:
    assert [folder.subject_of(None), folder.subject_of(1530), folder.subject_of(1530, merged=True)] == [
        "base",
        "0001530",
        "0001530-merged",
    ]
    assert [folder.step_of(one) for one in ("base", "0001530", "0001530-merged")] == [None, 1530, 1530]
    assert folder.PICTURE.fullmatch(folder.question_picture(3, "q", 1))
    assert folder.PICTURE.fullmatch(folder.answer_picture(99_999, 12))
