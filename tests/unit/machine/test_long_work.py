"""The long work that runs on a host: what systemd says, and of the account's word the sound part."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine import long_work
from ansible_collections.canvas.fleet.plugins.module_utils.machine.long_work import Work
from ansible_collections.canvas.fleet.plugins.module_utils.plan.works_text import work_lines
from ansible_collections.canvas.fleet.plugins.module_utils.system import units


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for name in ("weights", "conda_env"):
        (tmp_path / "work" / name / "own").mkdir(parents=True)
    (tmp_path / "work/.weights.lock").touch()
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Units that were asked for; the weights are fetched since a minute, the environment is done."""
    names: list[str] = []

    def show(_: Any, *wanted: str) -> list[dict[str, str]]:
        names.extend(wanted)
        begun = str(int((time.monotonic() - 60) * 1e6))
        active = {"canvas-work-weights.service": ("active", begun)}
        return [
            dict(
                zip(
                    ("Id", "ActiveState", "ActiveEnterTimestampMonotonic"),
                    (name, *active.get(name, ("inactive", "0"))),
                    strict=True,
                )
            )
            for name in wanted
        ]

    monkeypatch.setattr(units, "show", show)
    return names


def observed(state: Path) -> tuple[Work, ...]:
    return long_work.observe({"fleet_state_dir": str(state)})  # type: ignore[typeddict-item]


def test_what_runs_is_told_with_its_unit_its_time_and_its_progress(state: Path, asked: list[str]) -> None:
    said = {
        "done": 10**9,
        "total": 4 * 10**9,
        "unit": "B",
        "what": "ema",
        "samples": [[time.time() - 10, 0], [time.time(), 10**9]],
    }
    (state / "work/weights/own/progress.json").write_text(json.dumps(said))
    (found,) = observed(state)
    assert asked == ["canvas-work-conda_env.service", "canvas-work-weights.service"]
    assert (found.name, found.unit) == ("weights", "canvas-work-weights")
    assert 59 < found.seconds < 70
    assert abs(found.since + 60 - time.time()) < 10
    assert found.progress.startswith("1.0 GB/4.0 GB  ")


@pytest.mark.parametrize("said", ["", "{}", "[]", '{"done": "x"}', '{"samples": [["a", 1]]}'])
def test_of_a_progress_that_is_none_nothing_is_told(state: Path, asked: list[str], said: str) -> None:
    (state / "work/weights/own/progress.json").write_text(said)
    assert [(one.name, one.progress) for one in observed(state)] == [("weights", "")]


def test_a_link_of_the_account_is_not_followed(state: Path, asked: list[str], tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text('{"what": "s3cr3t"}')
    os.symlink(secret, state / "work/weights/own/progress.json")
    assert observed(state)[0].progress == ""


def test_a_host_without_records_asks_systemd_nothing(tmp_path: Path, asked: list[str]) -> None:
    assert observed(tmp_path) == ()
    assert asked == []


def test_the_lines_name_each_work_and_how_to_end_it() -> None:
    one = Work("weights", "canvas-work-weights", 0.0, 242.0, "12.3 GB/29.2 GB")
    lines = work_lines({"a": [one], "b": [], "c": [one]}, 79)
    assert [line.split()[0] for line in lines] == ["host", "a", "c", "site.yml"]
    assert "weights" in lines[1]
    assert "00:00 UTC  4 min 2 s  12.3 GB/29.2 GB" in lines[1]
    assert lines[-1].count("canvas-work-weights") == 1
    assert work_lines({"a": []}) == []
