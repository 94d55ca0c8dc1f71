"""The line of the status about the last evaluation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder as folders
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.folder import Place
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.last import Figures, Last, evaluated, last, line
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.wire import About, AnswerRow, LossRow, QuestionRow
from ansible_collections.canvas.fleet.plugins.module_utils.system import folders as system_folders


def about(subject: str, mode: Any, ended: str | None, seed: int = 42) -> About:
    return About(1, mode, subject, folders.step_of(subject), "ema.safetensors", "w", "d", 2, "c", seed, {}, "0.2.0",
                 "2026-11-30T01:00:00+00:00", ended)  # fmt: skip


def losses(at: Path, subject: str, ce: float, ended: str | None = "2026-11-30T02:00:00+00:00", seed: int = 42) -> None:
    place = Place(str(at), subject, "loss")
    folders.begin(place, about(subject, "loss", ended, seed))
    for row, more in enumerate((0.0, 0.2)):
        folders.append(place.rows, LossRow(row, ce + more, None if row else 0.5, 10, 0 if row else 10))


def answers(at: Path, subject: str, *letters: Any) -> None:
    place = Place(str(at), subject, "answers")
    folders.begin(place, about(subject, "answers", "2026-11-30T03:00:00+00:00"))
    for row, letter in enumerate(letters):
        folders.append(place.rows, AnswerRow(row, letter, (), 5, 0, 1.0))


def told(at: Path) -> str:
    found = last(str(at))
    return line(found) if found else ""


def test_nothing_is_told_before_an_evaluation_has_ended(tmp_path: Path) -> None:
    assert told(tmp_path / "nowhere") == ""
    losses(tmp_path, "0000060", 0.3, ended=None)
    assert told(tmp_path) == ""
    assert not evaluated(str(tmp_path), "loss", 60)


def test_losses_stand_beside_those_of_the_base(tmp_path: Path) -> None:
    losses(tmp_path, "base", 2.2)
    assert told(tmp_path) == "the base on 2 test rows: ce 2.300, mse 0.500"
    losses(tmp_path, "0000060", 0.3, ended="2026-11-30T01:30:00+00:00")
    assert told(tmp_path) == "step 60 on 2 test rows: ce 0.400 (base 2.300), mse 0.500 (base 0.500)"
    assert evaluated(str(tmp_path), "loss", 60)


def test_a_base_of_other_noise_is_none_to_compare_with(tmp_path: Path) -> None:
    losses(tmp_path, "base", 2.2, seed=1)
    losses(tmp_path, "0000060", 0.3)
    assert told(tmp_path) == "step 60 on 2 test rows: ce 0.400, mse 0.500"


def test_the_newest_answers_are_counted_with_what_could_not_be_read(tmp_path: Path) -> None:
    losses(tmp_path, "0000060", 0.3)
    system_folders.make(f"{tmp_path}/rows")
    for row, letter in enumerate(("A", "B", "C")):
        folders.append(f"{tmp_path}/rows/rows.jsonl", QuestionRow(row, f"{row}", letter, (), ()))  # type: ignore[arg-type]
    answers(tmp_path, "base", "A", "D", "D")
    answers(tmp_path, "0000060-merged", "A", "B", None)
    assert told(tmp_path) == "step 60 merged on 3 test rows: 2 right (base 1), 1 unparsed"


def test_a_loss_that_is_no_number_is_not_told_as_one(tmp_path: Path) -> None:
    losses(tmp_path, "0000060", math.nan)
    assert told(tmp_path) == "step 60 on 2 test rows: mse 0.500"


def test_what_the_account_writes_instead_is_nothing(tmp_path: Path) -> None:
    losses(tmp_path, "0000060", 0.3)
    (tmp_path / "0000060/loss/about.json").write_text('{"schema": "x", "ended": 7}')
    assert told(tmp_path) == ""


def test_losses_whose_sum_is_no_number_are_none(tmp_path: Path) -> None:
    losses(tmp_path, "0000060", 1.7e308)
    assert told(tmp_path) == "step 60 on 2 test rows: mse 0.500"


def test_the_newest_of_many_subjects_is_found_without_reading_all(tmp_path: Path) -> None:
    for step in range(60):
        losses(tmp_path, f"{step:07d}", float(step))
    losses(tmp_path, "base", 100.0)
    assert told(tmp_path) == "step 59 on 2 test rows: ce 59.100 (base 100.100), mse 0.500 (base 0.500)"
    assert [one.subject for one in folders.places(str(tmp_path), 3)] == ["base", "0000058", "0000059"]


def test_a_flood_of_rows_gives_no_figures(tmp_path: Path) -> None:
    losses(tmp_path, "0000060", 0.3)
    with Path(Place(str(tmp_path), "0000060", "loss").rows).open("a") as out:
        out.write("x" * (5 << 20))
    assert "no losses" in told(tmp_path)


def test_a_subject_that_is_none_is_no_figure() -> None:
    assert line(Last("loss", "2026-11-30T02:00:00+00:00", Figures("interleave_reasoning", 2, 0.5))) == ""
