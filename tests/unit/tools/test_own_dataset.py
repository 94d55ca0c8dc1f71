"""The page about an own dataset: its snippet makes files that the trainer reads, with nothing for the plan to say."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.inspect import inspect
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.judge import judge

from tests.unit.support import dataset_files as files
from tests.unit.support.places import ROOT

ROWS = 60


def snippet(page: str) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    return str(code)


@pytest.fixture
def puzzles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A csv with the columns of the page's table, and its pictures."""
    head = re.findall(r"^\| (question \|.*answer) \|", (ROOT / "docs/own-dataset.md").read_text(), re.MULTILINE)[0]
    (tmp_path / "pictures").mkdir()
    rows = []
    for number in range(ROWS):
        row = {name: f"{name} {number}" for name in head.split(" | ")}
        for column in [name for name in row if "image" in name]:
            row[column] = f"{number}-{column}.png"
            (tmp_path / "pictures" / row[column]).write_bytes(files.picture(number))
        rows.append({**row, "answer": "ABCD"[number % 4]})
    pd.DataFrame(rows).to_csv(tmp_path / "puzzles.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_snippet_makes_files_that_train_as_they_are(puzzles: Path) -> None:
    exec(compile(snippet("own-dataset.md"), "own-dataset.md", "exec"), {})  # noqa: S102 - our own page
    train, test = puzzles / "train_split.parquet", puzzles / "test_split.parquet"
    assert (len(pd.read_parquet(train)), len(pd.read_parquet(test))) == (54, 6)
    found = inspect(str(train), str(test))
    told = {**files.settings(puzzles / "host", train), "dataset_test": str(test)}
    notes = [one.code for one in judge(found, told, files.topology())]
    assert notes == ["TRAIN_TEST_TOGETHER"], "the role keeps the training copy in a folder of its own"


def test_both_languages_show_the_same_program() -> None:
    programs = [re.sub(r"#.*", "", snippet(page)) for page in ("own-dataset.md", "own-dataset.zh.md")]
    assert programs[0] == programs[1]
