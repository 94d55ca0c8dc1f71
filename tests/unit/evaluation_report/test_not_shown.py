"""What an evaluation lacks is named, and one that is at work lacks nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import offer as offers
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import not_shown, summary

from tests.unit.support import evaluations


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "evaluation"
    evaluations.write(made, 3, {"base": 0.3, "0000040": 0.9})
    return made


def damaged(folder: Path) -> list[str]:
    names = [one.name for one in offers.offer(str(folder), str(folder.parent)).files]
    return [*not_shown.damaged(names, summary.collected(str(folder)))]


def cut(path: Path, **about: object) -> None:
    """The last row is gone."""
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    if about:
        evaluations.place(path.parents[2], path.parts[-3], path.parts[-2], 3, **about)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(lambda _folder: None, [], id="whole"),
        pytest.param(lambda folder: cut(folder / "base/loss/rows.jsonl", ended=None), [], id="at work"),
        pytest.param(
            lambda folder: cut(folder / "base/loss/rows.jsonl"), ["base/loss/rows.jsonl (2 of 3 rows)"], id="a row less"
        ),
        pytest.param(
            lambda folder: cut(folder / "base/answers/rows.jsonl"),
            ["base/answers/rows.jsonl (2 of 3 rows)"],
            id="an answer less",
        ),
        pytest.param(
            lambda folder: (folder / "0000040/loss/about.json").write_text("{}"),
            ["0000040/loss/about.json"],
            id="another form",
        ),
        pytest.param(
            lambda folder: [(folder / "base/answers" / name).unlink() for name in ("about.json", "rows.jsonl")],
            ["base/answers/about.json"],
            id="pictures alone",
        ),
        pytest.param(
            lambda folder: (folder / "rows/rows.jsonl").write_bytes(b"\0"), ["rows/rows.jsonl"], id="no test row"
        ),
        pytest.param(lambda folder: shutil.rmtree(folder / "0000040"), [], id="one subject less"),
    ],
)
def test_what_is_lacking_is_named(folder: Path, change: Callable[[Path], object], found: list[str]) -> None:
    change(folder)
    assert damaged(folder) == found


def test_many_parts_are_counted() -> None:
    found = not_shown.of_parts("atlas", [f"{step:07d}/loss/about.json" for step in range(8)])
    assert found.found.endswith("0000004/loss/about.json, and 3 more")
    assert "more" not in not_shown.of_parts("atlas", ["base/loss/about.json"]).found


def test_an_error_keeps_its_words_and_its_remedy() -> None:
    error = FleetError("a file has become shorter", variable="evaluation_dir", found="x: 1 of 2", remedy="run it again")
    found = not_shown.of_error("atlas", error)
    assert (found.found, found.remedy) == ("a file has become shorter: x: 1 of 2", "run it again")
    assert (found.variable, found.host, found.severity) == ("evaluation_dir", "atlas", "warning")
    assert not_shown.of_error("atlas", OSError("full")).found == "full"
    parts = not_shown.of_parts("atlas", ["base/loss/about.json"])
    assert not_shown.of_error("atlas", FleetError.of(parts)) == parts
