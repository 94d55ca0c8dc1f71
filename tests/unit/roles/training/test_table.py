"""What a user reads of a fleet's trainings: notes, verdicts, the line while they run, and the table."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.wire import from_dict
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import table as report_status
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.observe import Supervised
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.report import Report
from hypothesis import given
from hypothesis import strategies as st

LOSSES = {"ce": {"first": 0.7312, "last": 0.3921}, "mse": {"first": 0.5104, "last": 0.2884}}
OUT_OF_MEMORY = {"kind": "GPU_OUT_OF_MEMORY", "line": "CUDA out of memory", "lines": [], "rank": 1}
TERMINATED = {"kind": "TERMINATED", "line": "rank 0 was ended by signal 15", "lines": [], "rank": 0}


def told(**changes: Any) -> Report:
    """The report of a run that ended whole."""
    found = {
        "run": "atlas",
        "phase": "finished",
        "step": 60,
        "total_steps": 60,
        "losses": LOSSES,
        "rate": 3.21,
        "seconds_left": 0.0,
        "weights": "loaded",
        "weights_flaw": "",
        "newest_step": 60,
        "newest_whole": 60,
        "failure": None,
        "foreign": [],
        "older": [],
    }
    return from_dict(Report, {**found, **changes})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({}, None, id="a run that ended whole"),
        pytest.param({"weights": "scratch"}, "trained from random weights", id="random weights"),
        pytest.param(
            {"weights": "partial", "weights_flaw": "1 tensors not in the file (a)"},
            "weights only partly loaded (1 tensors not in the file (a))",
            id="weights that lack a tensor",
        ),
        pytest.param({"weights": ""}, "the log does not say that weights were loaded", id="no word of weights"),
        pytest.param({"newest_whole": None, "newest_step": None}, "no whole checkpoint", id="nothing saved"),
        pytest.param(
            {"newest_whole": 40, "newest_step": 40},
            "the last 20 steps are not saved: the newest whole checkpoint is step 40",
            id="a last save before the end",
        ),
        pytest.param(
            {"newest_whole": 60, "newest_step": 80},
            "the newest checkpoint, step 80, is not whole",
            id="a newer save that is cut",
        ),
        pytest.param({"phase": "failed", "failure": OUT_OF_MEMORY}, "GPU_OUT_OF_MEMORY: CUDA out of memory", id="died"),
        pytest.param({"phase": "failed"}, "the unit is failed", id="died without a word"),
        pytest.param({"phase": "stopped", "failure": TERMINATED}, "stopped before its end", id="a wanted stop"),
        pytest.param(
            {"phase": "stopped", "failure": OUT_OF_MEMORY},
            "GPU_OUT_OF_MEMORY: CUDA out of memory",
            id="died, then stopped",
        ),
        pytest.param({"phase": "absent"}, "there is no unit", id="no unit"),
    ],
)
def test_the_verdict_on_a_run_that_is_over(changes: dict[str, Any], problem: str | None) -> None:
    wanted = [] if problem is None else [problem]
    assert report_status.verdict(told(**changes)) == wanted
    assert report_status.row(told(**changes), "atlas").note == "; ".join(wanted)


def test_only_the_first_host_of_a_run_answers_for_steps_and_saves() -> None:
    silent = told(step=None, weights="", newest_whole=None, newest_step=None)
    assert report_status.verdict(silent, rank=1) == []
    assert len(report_status.verdict(silent, rank=0)) == 2
    assert report_status.verdict(told(phase="failed", failure=OUT_OF_MEMORY), rank=1)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        pytest.param({}, [], id="all well"),
        pytest.param({"newest_whole": None}, [], id="nothing saved yet"),
        pytest.param({"weights": "scratch"}, ["trained from random weights"], id="random weights are reported at once"),
        pytest.param({"older": ["/a"]}, ["older than the settings on disk"], id="a changed setting"),
        pytest.param(
            {"foreign": ["a", "b", "c", "d"]}, ["foreign names among the checkpoints: a, b, c"], id="foreign folders"
        ),
        pytest.param(
            {"phase": "restarting", "failure": OUT_OF_MEMORY},
            ["will be started again after GPU_OUT_OF_MEMORY: CUDA out of memory"],
            id="between two starts",
        ),
    ],
)
def test_the_notes_on_a_run_that_goes_on(changes: dict[str, Any], note: list[str]) -> None:
    assert report_status.notes(told(**{"phase": "running", **changes})) == note


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        pytest.param(
            {"step": 35, "seconds_left": 7.8},
            "atlas  step 35/60  ce 0.39  mse 0.29  3.2 steps/s  ETA 8 s",
            id="in full swing",
        ),
        pytest.param(
            {"step": 35, "total_steps": None, "rate": None, "seconds_left": None, "losses": {}},
            "atlas  step 35/?",
            id="little known",
        ),
        pytest.param({"step": None}, "atlas  ready for 60 steps, none made yet", id="before the first step"),
        pytest.param({"step": None, "total_steps": None, "weights": "loading"}, "atlas  loading weights", id="loading"),
        pytest.param({"step": None, "total_steps": None, "weights": ""}, "atlas  running", id="just begun"),
        pytest.param(
            {"phase": "failed", "step": 35, "rate": 0.25},
            "atlas  step 35/60  ce 0.39  mse 0.29  0.25 steps/s  failed",
            id="over",
        ),
    ],
)
def test_the_line_while_a_run_is_followed(changes: dict[str, Any], line: str) -> None:
    assert report_status.progress_line("atlas", told(**{"phase": "running", **changes})) == line


def test_the_table_shows_each_host_once_and_the_lost_one_too() -> None:
    rows = [
        report_status.row(told(phase="running", step=35, seconds_left=7.8, newest_whole=40), "atlas"),
        report_status.row(told(run="bolt", step=None, weights="", losses={}, rate=None), "bolt1", 1),
        report_status.lost_row("echo", "echo", "no connection\n for 60 s"),
    ]
    lines = [line.split("  ") for line in report_status.fleet_table(rows).splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == list(report_status.COLUMNS)
    assert cells[1][:6] == ["atlas", "atlas", "0", "running", "35/60", "0.731 → 0.392"]
    assert cells[1][7:] == ["3.2", "8 s", "loaded", "0000040"]
    assert cells[2] == ["bolt1", "bolt", "1", "finished", *["–"] * 6, "0000060"]
    assert cells[3] == ["echo", "echo", "–", "no answer", *["–"] * 7, "no connection for 60 s"]


def test_on_a_page_hosts_of_a_run_that_are_alike_share_a_line() -> None:
    first = report_status.row(told(run="big", phase="running", step=35, seconds_left=7.8), "n00", 0)
    others = [
        report_status.row(
            told(
                run="big",
                phase="running",
                step=None,
                weights="",
                losses={},
                rate=None,
                seconds_left=None,
                newest_whole=None,
            ),
            f"n{rank:02}",
            rank,
        )
        for rank in range(1, 50)
    ]
    lines = report_status.fleet_table([first, *others], 79).splitlines()
    assert lines[2:] == [
        "n00       big     0  running  35/60  0.731 → 0.392  0.510 → 0.288",
        "        3.2  8 s  loaded   0000060",
        "n[01-49]  big  1-49  running      –  –              –",
    ]


def test_on_a_page_columns_without_a_value_are_left_out() -> None:
    rows = [report_status.lost_row(name, name, "no connection", "failed") for name in "ab"]
    assert report_status.fleet_table(rows, 79).splitlines() == [
        "host  run  rank  state   note",
        "a     a       –  failed  no connection",
        "b     b       –  failed  no connection",
    ]


def test_time_left_is_shown_only_of_what_runs() -> None:
    assert report_status.row(told(phase="failed", seconds_left=9.0), "a").seconds_left is None


SOME = st.one_of(st.none(), st.integers(0, 10**6))
PHASES = st.sampled_from(["running", "restarting", "stopping", "finished", "failed", "stopped", "absent"])
REPORTS = st.fixed_dictionaries(
    {
        "run": st.text("ab-", max_size=9),
        "phase": PHASES,
        "step": SOME,
        "total_steps": SOME,
        "newest_step": SOME,
        "newest_whole": SOME,
        "rate": st.one_of(st.none(), st.floats(0, 1e4)),
        "seconds_left": st.one_of(st.none(), st.floats(0, 1e7)),
        "weights": st.sampled_from(["", "loading", "loaded", "partial", "scratch"]),
        "losses": st.sampled_from([{}, LOSSES, {"ce": LOSSES["ce"]}]),
        "failure": st.sampled_from([None, OUT_OF_MEMORY, TERMINATED]),
        "foreign": st.lists(st.text("a\n ", max_size=4), max_size=4),
        "older": st.lists(st.just("/a"), max_size=1),
    }
)


@given(reports=st.lists(REPORTS, max_size=4), rank=st.integers(0, 3))
def test_any_report_makes_one_line_of_the_table(reports: list[dict[str, Any]], rank: int) -> None:
    rows = [report_status.row(told(**one), f"host{number}", rank) for number, one in enumerate(reports)]
    lines = report_status.fleet_table(rows).split("\n")
    assert [line.split()[0] for line in lines[1:]] == [f"host{number}" for number in range(len(reports))]
    assert all("\n" not in report_status.progress_line("a", told(**{**one, "foreign": []})) for one in reports)


@given(report=REPORTS)
def test_a_run_that_did_not_finish_is_never_called_whole(report: dict[str, Any]) -> None:
    if report["phase"] != "finished":
        assert report_status.verdict(told(**report))


@pytest.mark.parametrize(
    ("phase", "stage", "shown"),
    [
        ("running", "pause", True),
        ("running", "prepare", True),
        ("running", "steps", False),
        ("stopping", "steps", True),
        ("failed", "pause", False),
    ],
)
def test_the_supervisors_words_are_shown_where_the_phase_alone_says_too_little(
    phase: str, stage: str, shown: bool
) -> None:
    report = Report(run="atlas", phase=phase, supervisor=Supervised(stage, "waits 30 s"))
    assert ("waits 30 s" in report_status.notes(report)) == shown
    assert report_status.waiting_line("atlas", report) == "atlas  waits 30 s"


def test_a_failed_start_is_told_even_when_nobody_knows_why() -> None:
    assert report_status.failed_start(Report(unit="u", phase="failed")) == (
        "u failed to start (UNKNOWN); the unit is failed"
    )
