"""`make demo`: steps that need nothing of each other run at once, and a fleet is brought up when all of it is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo import __main__ as demo
from demo import steps


@pytest.fixture(autouse=True)
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The mark of a fleet whose runs are evaluated."""
    monkeypatch.setattr(demo, "EVALUATED", tmp_path / "evaluated")
    return tmp_path / "evaluated"


def outcomes(monkeypatch: pytest.MonkeyPatch, *failed: steps.Step) -> list[str]:
    """The names of the steps that were begun, when these fail."""
    begun: list[str] = []

    def run(step: steps.Step) -> steps.Outcome:
        begun.append(step.name)
        return steps.Outcome(step, int(step in failed), 1.0)

    monkeypatch.setattr(demo, "run", run)
    monkeypatch.setattr(demo, "run_all", lambda made, places: [run(one) for one in made])
    return begun


def test_the_fleet_is_brought_up_when_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = outcomes(monkeypatch)
    assert demo.up() == 0
    assert begun[-3:] == [demo.INVENTORY.name, demo.CONVERGE.name, demo.EVALUATE.name]


def test_a_fleet_is_evaluated_once_and_then_its_pages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes(monkeypatch)
    assert demo.up() == 0
    assert demo.PAGES not in capsys.readouterr().out
    begun = outcomes(monkeypatch)
    assert demo.up() == 0
    assert begun[-1] == demo.CONVERGE.name
    assert demo.PAGES in capsys.readouterr().out


def test_a_fleet_whose_evaluation_failed_is_evaluated_again(monkeypatch: pytest.MonkeyPatch, fleet: Path) -> None:
    outcomes(monkeypatch, demo.EVALUATE)
    assert demo.up() == 1
    assert not fleet.exists()


def test_nothing_is_evaluated_after_a_converge_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = outcomes(monkeypatch, demo.CONVERGE)
    assert demo.up() == 1
    assert begun[-1] == demo.CONVERGE.name


def test_no_host_is_touched_after_a_failure_and_its_step_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = outcomes(monkeypatch, demo.DEPOT)
    assert demo.up() == 1
    assert begun == [step.name for step in demo.PREPARATIONS]
    assert f"stopped at '{demo.DEPOT.name}'" in capsys.readouterr().err


def test_image_and_environment_wait_for_nothing_and_every_other_step_for_one_that_is_there() -> None:
    names = [step.name for step in demo.PREPARATIONS]
    assert [step.name for step in demo.PREPARATIONS if not step.after] == [demo.IMAGE.name, demo.VENV.name]
    assert all(names.index(name) < number for number, step in enumerate(demo.PREPARATIONS) for name in step.after)
    assert len({step.log for step in (*demo.PREPARATIONS, demo.CONVERGE, demo.EVALUATE)}) == len(names) + 2


@pytest.mark.parametrize("module", ["demo.__main__", "demo.image", "demo.hosts"])
def test_what_runs_before_there_is_an_environment_needs_python_alone(module: str) -> None:
    words = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; sys.path.insert(0, {str(steps.CHECKOUT)!r}); import {module}",
    ]
    subprocess.run(words, check=True)
