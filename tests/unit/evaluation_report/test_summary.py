"""The collected folder as data: what is compared with what, what is left out, and the words beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder as folders
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.wire import AnswerRow, LossRow, QuestionRow, Text
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import summary, table
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.shape import Evaluation, Interval
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.summary import Collected

from tests.unit.support import evaluations
from tests.unit.support.places import ROOT

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs/evaluation.schema.json").read_text())


def evaluated(folder: Path) -> Evaluation:
    return summary.evaluation("atlas", summary.collected(str(folder)))


def codes(made: Evaluation) -> list[str]:
    return [one.code for one in made.notes]


def questions(folder: Path, letters: str) -> None:
    """One question for each letter; `-` for a row without one."""
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    lines = [
        QuestionRow(row, f"id{row}", None if letter == "-" else letter, (Text("text", "?"),), ())  # type: ignore[arg-type]
        for row, letter in enumerate(letters)
    ]
    evaluations.put(folder / "rows/rows.jsonl", list(lines))


def answers(folder: Path, subject: str, letters: str, **changes: object) -> None:
    """One answer for each letter: `-` has none, `!` has failed, a space is not there yet."""
    where = evaluations.place(folder, subject, "answers", len(letters), **changes)
    lines = [
        AnswerRow(row, letter if letter in "ABCD" else None, (), 10, 0, 1.0, "out of memory" if letter == "!" else None)  # type: ignore[arg-type]
        for row, letter in enumerate(letters)
        if letter != " "
    ]
    evaluations.put(where.rows, list(lines))


def losses(folder: Path, subject: str, values: list[float | None], **changes: object) -> None:
    where = evaluations.place(folder, subject, "loss", len(values), **changes)
    evaluations.put(where.rows, [LossRow(row, value, None, 5, 0) for row, value in enumerate(values)])


def test_the_form_is_the_declared_one(made: Evaluation) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(summary.as_json(made)), SCHEMA)


def test_another_form_is_none() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1}, SCHEMA)


def test_the_same_folder_gives_the_same_bytes(folder: Path, made: Evaluation) -> None:
    assert summary.as_json(evaluated(folder)) == summary.as_json(made)


def test_base_is_compared_with_each_and_each_with_the_one_before(made: Evaluation) -> None:
    pairs = [(one.first, one.second, one.measure) for one in made.comparisons]
    ways = [("base", "0000510"), ("base", "0001530"), ("0000510", "0001530")]
    assert pairs == [(*way, "accuracy") for way in ways] + [(*way, name) for way in ways for name in ("ce", "mse")]
    assert {one.verdict for one in made.comparisons if one.measure == "ce"} == {"better"}


def test_letters_are_counted(tmp_path: Path) -> None:
    questions(tmp_path, "ABCDA-")
    answers(tmp_path, "base", "AB!-BC")
    (base,) = evaluated(tmp_path).subjects
    assert base.answers is not None
    assert (base.answers.right, base.answers.unparsed, base.answers.failed) == (2, 1, 1)
    assert base.answers.accuracy is not None
    assert (base.answers.accuracy.value, base.answers.accuracy.rows) == (0.4, 5), "a row without a letter is in neither"
    assert codes(evaluated(tmp_path)) == ["FAILED", "SOME_LETTERS", "FEW_ROWS"]


def test_rows_that_are_not_there_yet_are_in_no_share_and_said(tmp_path: Path) -> None:
    questions(tmp_path, "ABCD")
    answers(tmp_path, "base", "ABCD")
    answers(tmp_path, "0000040", "A  B")
    made = evaluated(tmp_path)
    assert [one.text for one in made.notes if one.code == "PARTIAL"] == [
        "40: only 2 of 4 rows are there yet (answers)."
    ]
    (compared,) = made.comparisons
    assert (compared.difference.rows, compared.gained, compared.lost) == (2, 0, 1)
    assert made.outcomes[1].letters == {"base": "B"}


def test_without_letters_there_is_no_accuracy(tmp_path: Path) -> None:
    questions(tmp_path, "--")
    answers(tmp_path, "base", "AB")
    made = evaluated(tmp_path)
    assert (made.subjects[0].answers and made.subjects[0].answers.accuracy, made.visible) == (None, None)
    assert "NO_LETTERS" in codes(made)


def test_a_loss_that_is_no_number_is_in_no_mean(tmp_path: Path) -> None:
    questions(tmp_path, "AAAA")
    losses(tmp_path, "base", [1.0, 2.0, float("nan"), float("inf")])
    losses(tmp_path, "0000040", [0.5, 1.0, 0.5, 0.5])
    made = evaluated(tmp_path)
    assert made.subjects[0].loss is not None
    assert made.subjects[0].loss.ce is not None
    assert (made.subjects[0].loss.ce.value, made.subjects[0].loss.not_finite) == (1.5, 2)
    assert made.comparisons[0].difference.rows == 2
    assert codes(made) == ["NOT_FINITE"]
    json.loads(summary.as_json(made), parse_constant=lambda name: pytest.fail(name))


OTHERS = {"data": {"data_digest": "cd" * 32}, "seed": {"seed": 7}, "settings": {"settings": {"do_sample": True}},
          "code": {"code_commit": "0" * 40}}  # fmt: skip


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_what_was_done_otherwise_is_not_compared(tmp_path: Path, change: dict[str, object]) -> None:
    questions(tmp_path, "AB")
    answers(tmp_path, "base", "AB")
    answers(tmp_path, "0000040", "AB", **change)
    made = evaluated(tmp_path)
    assert made.comparisons == ()
    assert [one.text for one in made.notes if one.code == "NOT_COMPARABLE"] == [
        "base and 40 are not compared (answers): data, seed, settings or code differ."
    ]


def test_a_curve_is_thinned_out_by_means(data: Collected) -> None:
    ce, mse = data.curves
    assert (ce.name, mse.name) == ("ce", "mse")
    assert len(ce.steps) <= summary.POINTS
    assert (ce.steps[0], ce.steps[-1]) == (3, 1529)
    assert ce.values[0] == pytest.approx(1.3, abs=0.1)
    assert ce.values[-1] == pytest.approx(0.12, abs=0.05)


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff\xfe", b"step,time,ce,steps_per_second\n1,x,nan,1\n2,x,inf,1\n", b"a,b\n1,2\n", b"step," + bytes(99)],
    ids=["nothing", "no text", "no numbers", "another table", "zeros"],
)  # fmt: skip
def test_a_table_of_losses_that_is_none_gives_no_curve(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "losses.csv").write_bytes(text)
    assert list(summary.curves(str(tmp_path / "losses.csv"))) == []


HOSTILE = {
    "no JSON": b"{",
    "another type": b'{"row": "0"}',
    "no row of ours": b'{"row": -1, "letter": null, "parts": [], "text_tokens": 1, "pictures": 0, "seconds": 1}',
    "no end": b'{"row": 0, "letter": null, "parts": [], "text_tokens": 1, "pictures": 0, "seconds": 1e999}',
    "another letter": b'{"row": 0, "letter": "E", "parts": [], "text_tokens": 1, "pictures": 0, "seconds": 1}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_line_of_another_form_is_no_row(tmp_path: Path, line: bytes) -> None:
    questions(tmp_path, "A")
    answers(tmp_path, "base", "A")
    path = Path(folders.Place(str(tmp_path), "base", "answers").rows)
    path.write_bytes(line + b"\n")
    made = evaluated(tmp_path)
    assert made.subjects[0].answers is not None
    assert made.subjects[0].answers.work.rows == 0
    assert made.outcomes[0].letters == {}


def test_the_table_fits_into_eighty_columns(made: Evaluation) -> None:
    lines = table.text(made, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Evaluation of atlas: 6 test rows, 6 with an answer letter"
    assert lines[2].split()[0] == "subject"
    assert [line.split()[0] for line in lines[3:6]] == ["base", "510", "1530"]
    assert sum("base → 1530  accuracy %" in line for line in lines) == 1
    assert "  Guessing is right in 25 % of the rows." in lines


def test_the_table_folds(made: Evaluation) -> None:
    assert max(map(len, table.text(made, 50).splitlines())) <= 50


def test_the_table_of_losses_alone_has_no_empty_columns(tmp_path: Path) -> None:
    questions(tmp_path, "AB")
    losses(tmp_path, "base", [1.0, 1.5])
    lines = table.text(evaluated(tmp_path), 80).splitlines()
    assert [line.split() for line in lines[2:4]] == [["subject", "CE"], ["base", "1.25"]]


def test_the_table_shows_no_control_characters(made: Evaluation) -> None:
    hostile = replace(made, run="a\x1b[31m\u202eb")
    text = table.text(hostile, 80)
    assert "a\\x1b[31m\\u202eb" in text
    assert "\x1b" not in text


def test_a_value_without_an_interval_stands_alone() -> None:
    alone = Interval(0.5, None, None, 1)
    assert (table.percent(alone), table.points(alone), table.signed(alone)) == ("50.0 %", "+50.0", "+0.5")


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((-2.6254, -2.6456, -2.6052), "−2.625 (−2.646…−2.605)"),
        ((-0.816, -0.85, -0.782), "−0.816 (−0.850…−0.782)"),
        ((3.0, -12.0, 18.0), "+3 (−12…+18)"),
        ((0.5, 0.5, 0.5), "+0.500 (+0.500…+0.500)"),
    ],
)
def test_an_interval_has_the_decimals_that_its_length_needs(interval: tuple[float, float, float], words: str) -> None:
    value, low, high = interval
    assert table.signed(Interval(value, low, high, 69)) == words
    assert (table.percent(None), table.number(None), table.p_value(None)) == ("–", "–", "–")


@pytest.mark.parametrize("large", [1.7e308, -1.7e308, 1e200])
def test_no_number_is_too_large_for_a_report(tmp_path: Path, large: float) -> None:
    questions(tmp_path, "AB")
    for subject in ("base", "0000510"):
        losses(tmp_path, subject, [large, large, 1.0])
        where = evaluations.place(tmp_path, subject, "answers", 2)
        evaluations.put(where.rows, [AnswerRow(row, "A", (), 10, 0, abs(large)) for row in range(2)])
    (tmp_path / "losses.csv").write_text("step,time,ce,steps_per_second\n" + f"1,t,{large},1\n2,t,{large},1\n3,t,1,1\n")
    made = evaluated(tmp_path)
    assert summary.as_json(made)
    assert [one.loss.not_finite for one in made.subjects if one.loss] == [2, 2]
