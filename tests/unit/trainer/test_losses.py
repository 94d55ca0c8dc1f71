"""The losses as a table: a row for a step line, no step twice, whatever order starts make them in."""

from __future__ import annotations

import csv
import io

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.losses import ANEW, Losses
from hypothesis import given
from hypothesis import strategies as st


def line(step: int, ce: object = 0.5, mse: object = 0.25, rate: str = "0.44", more: str = "") -> str:
    losses = f"Train Loss mse: {mse}, Train Loss ce: {ce}, {more}"
    return f"[2026-11-24 12:00:{step % 60:02d}] (step={step:07d}) {losses}Train Steps/Sec: {rate}, "


def fed(*lines: str) -> Losses:
    losses = Losses()
    for one in lines:
        losses.feed(one)
    return losses


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_step_line_is_a_row() -> None:
    losses = Losses()
    assert losses.feed("[2026-11-24 12:00:00] Training for 60 steps, starting at 0...") == ""
    assert losses.feed(line(10)) == "10,2026-11-24 12:00:10,0.5,0.25,0.44\n"
    assert losses.text() == "step,time,ce,mse,steps_per_second\n10,2026-11-24 12:00:10,0.5,0.25,0.44\n"


def test_a_resume_takes_the_place_of_the_steps_that_it_makes_again() -> None:
    losses = fed(line(0), line(5, 0.9), line(10, 0.8), line(15, 0.7))
    assert losses.feed(line(10, 0.6)) == ANEW
    assert [(row["step"], row["ce"]) for row in rows(losses.text())] == [("0", "0.5"), ("5", "0.9"), ("10", "0.6")]


def test_a_loss_that_comes_later_gets_a_column() -> None:
    losses = fed(line(0))
    assert losses.feed(line(5, more="Train Loss kl: 1.5, ")) == ANEW
    assert rows(losses.text())[0]["kl"] == ""
    assert rows(losses.text())[1]["kl"] == "1.5"


def test_a_loss_that_is_no_number_is_seen_as_such() -> None:
    assert rows(fed(line(0, "nan", "inf")).text())[0] | {"time": ""} == {
        "step": "0", "time": "", "ce": "nan", "mse": "inf", "steps_per_second": "0.44"}  # fmt: skip


def test_no_flood_of_names_makes_columns_for_ever() -> None:
    losses = fed(*(line(step, more=f"Train Loss x{step}: 1, ") for step in range(50)))
    assert len(losses.names) == 20


def test_an_earlier_table_is_taken_up() -> None:
    losses = fed(line(0), line(5))
    again = Losses()
    again.read(losses.text())
    assert again.text() == losses.text()
    again.feed(line(5, 0.1))
    assert [row["ce"] for row in rows(again.text())] == ["0.5", "0.1"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("step,ce\n1,2\n", id="another table"),
        pytest.param("step,time,ce,mse,steps_per_second\n5,x,0.1,0.2,0.", id="a row that was cut"),
        pytest.param("step,time,ce,mse,steps_per_second\n5,x,0.1\n", id="a short row"),
        pytest.param("step,time,ce,mse,steps_per_second\n-5,x,1,2,3\n", id="no step"),
        pytest.param("step,time,ce,mse,steps_per_second\n²,x,1,2,3\n", id="a digit that is no number"),
        pytest.param(f"step,time,ce,mse,steps_per_second\n5,{'x' * 200_000},1,2,3\n", id="a cell without end"),
        pytest.param("step,time,ce,mse,steps_per_second\n5,x\0,1,2,3\r4\n", id="bytes of no text"),
    ],
)
def test_what_is_no_row_is_left_out(text: str) -> None:
    losses = Losses()
    losses.read(text)
    assert losses.rows == []


def test_a_line_that_is_no_csv_costs_no_other_line() -> None:
    losses = Losses()
    losses.read(f"step,time,ce,mse,steps_per_second\n1,x,1,2,3\n2,{'x' * 200_000},1,2,3\n3,x,1,2,3\n")
    assert [row.step for row in losses.rows] == [1, 3]


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=6), max_size=6))
def test_steps_rise_and_the_last_that_was_made_counts(starts: list[list[int]]) -> None:
    losses, number, made = Losses(), 0, dict[int, int]()
    for start in starts:
        for step in sorted(set(start)):
            number += 1
            losses.feed(line(step, number))
            made = {known: one for known, one in made.items() if known < step} | {step: number}
    assert [(row.step, float(row.losses["ce"])) for row in losses.rows] == sorted(made.items())
