"""The runner behind `make demo` and `make test`: a failure is never counted as passed, and it shows that it lives."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from demo import steps, test

T = TypeVar("T")
JUNIT = '<testsuites><testsuite name="pytest" errors="{}" failures="{}" skipped="{}" tests="{}" time="1"></testsuite>'


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(steps, "CHECKOUT", tmp_path)
    monkeypatch.setattr(steps, "REPORTS", tmp_path)
    return tmp_path


def python(code: str, name: str = "a step", **kind: Any) -> steps.Step:
    return steps.Step(name, [sys.executable, "-c", code], **kind)


@pytest.mark.parametrize("shown", [pytest.param(False, id="quietly"), pytest.param(True, id="shown")])
def test_a_step_says_what_it_does_and_how_it_ended(
    reports: Path, capfd: pytest.CaptureFixture[str], shown: bool
) -> None:
    keeps = "import os; open(os.environ['STEP_LOG'], 'w').write('the reason\\n'); " if shown else ""
    outcome = steps.run(python(f"{keeps}print('the reason'); raise SystemExit(3)", shown=shown))
    text = capfd.readouterr().out
    assert (outcome.code, outcome.passed) == (3, False)
    assert "==> a step" in text
    assert "FAILED (exit 3)" in text
    assert "the reason" in text
    assert (reports / "a-step.log").read_text() == "the reason\n"


@pytest.mark.parametrize("told", ["==== FAILURES ====", "\x1b[31mfatal: [host]: FAILED! =>", "Traceback (most recent"])
def test_a_failure_far_above_the_end_is_shown(reports: Path, capfd: pytest.CaptureFixture[str], told: str) -> None:
    steps.run(python(f"print('begin'); print('x\\n' * 99); print({told!r}); print('why'); print('y\\n' * 99); exit(1)"))
    shown = capfd.readouterr().out
    assert "| why" in shown
    assert "begin" not in shown
    assert "\x1b" not in shown


def test_a_long_step_shows_that_it_lives(
    reports: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "HEARTBEAT", 0.2)
    steps.run(python("import time; print('\\x1b[32mfetching\\x1b[0m', flush=True); time.sleep(0.9)"))
    beats = [line for line in capfd.readouterr().out.splitlines() if "…" in line]
    assert len(beats) >= 2
    assert beats[-1].endswith("fetching")


WORK = "import time; print(time.monotonic()); time.sleep(0.4); print(time.monotonic())"


def times(reports: Path, *wanted: steps.Step) -> list[tuple[float, float]]:
    """When each step began and ended, with two places."""
    outcomes = steps.run_all(wanted, 2)
    assert [outcome.step for outcome in outcomes] == list(wanted)
    told = ((reports / outcome.step.log).read_text().split() for outcome in outcomes)
    return [(float(begin), float(end)) for begin, end in told]


def test_steps_that_fit_run_side_by_side(reports: Path) -> None:
    (a_begin, a_end), (b_begin, b_end), (c_begin, _) = times(reports, *(python(WORK, name) for name in "abc"))
    assert max(a_begin, b_begin) < min(a_end, b_end)
    assert c_begin >= min(a_end, b_end)


def test_a_step_that_needs_all_places_runs_alone_and_in_its_turn(reports: Path) -> None:
    small, big, late = times(reports, python(WORK, "small"), python(WORK, "big", places=2), python(WORK, "late"))
    assert small[1] <= big[0] < big[1] <= late[0]


def test_a_step_waits_for_what_it_comes_after(reports: Path) -> None:
    later, first = times(reports, python(WORK, "later", after=("first", "not asked for")), python(WORK, "first"))
    assert later[0] >= first[1]


def test_a_failure_beside_others_is_named_and_is_no_other_steps(
    reports: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outcomes = steps.run_all([python("exit(3)", "bad"), python(WORK, "good")], 2)
    assert [outcome.code for outcome in outcomes] == [3, 0]
    assert re.search(r"FAILED \(exit 3\) after .* s  bad\n", capfd.readouterr().out)


def test_every_scenario_is_run_and_no_step_waits_for_one_that_is_not_there() -> None:
    """A name that stands in `after` and nowhere else would be a wait for nothing."""
    made = [step for part in test.PARTS.values() for step in part()]
    names = {step.name for step in made}
    assert {name for step in made for name in step.after} <= names
    assert {path.parent.name for path in steps.CHECKOUT.glob("molecule/*/molecule.yml")} == {
        step.command[-1] for step in made if step.name.startswith("molecule: ")
    }


@pytest.mark.parametrize(
    ("junit", "code", "expected"),
    [
        pytest.param((0, 0, 0, 12), 0, (12, 0), id="each test of a report counts"),
        pytest.param((0, 2, 0, 12), 1, (10, 2), id="failures are not passed"),
        pytest.param((1, 2, 0, 12), 1, (9, 3), id="errors are failures"),
        pytest.param((0, 0, 5, 12), 0, (7, 0), id="a skipped test has not passed"),
        pytest.param((0, 0, 0, 12), 2, (12, 1), id="a run that ended badly fails, whatever its report says"),
        pytest.param(None, 0, (1, 0), id="a step without a report is one"),
        pytest.param(None, 1, (0, 1), id="and fails as one"),
    ],
)
def test_counting(tmp_path: Path, junit: tuple[int, ...] | None, code: int, expected: tuple[int, int]) -> None:
    report = tmp_path / "unit.xml"
    if junit:
        report.write_text(JUNIT.format(*junit))
    assert test.counts(steps.Outcome(steps.Step("tests", ["pytest", str(report)]), code, 1.0)) == expected


def test_a_preparation_counts_only_when_it_fails() -> None:
    assert test.counts(steps.Outcome(test.DEPOT, 0, 1.0)) == (0, 0)
    assert test.counts(steps.Outcome(test.DEPOT, 1, 1.0)) == (0, 1)


@pytest.mark.parametrize(("names", "code"), [(["lint", "everything"], 2)])
def test_an_unknown_part_is_refused(names: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert test.main(names) == code
    assert "everything" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (60.0, "1 min 00 s"), (754.9, "12 min 34 s")]
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert steps.duration(seconds) == text


def test_a_step_ends_with_a_runner_that_was_killed(reports: Path) -> None:
    step = f'steps.Step("sleep", ["sh", "-c", "echo $$ > {reports}/pid; exec sleep 60"])'
    code = f"from demo import steps; steps.REPORTS = steps.CHECKOUT = __import__('pathlib').Path({str(reports)!r})\n"
    root = Path(steps.__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", f"{code}steps.run({step})"], cwd=root) as runner:
        number = eventually(lambda: (reports / "pid").read_text().strip())
        runner.kill()
    eventually(lambda: not Path(f"/proc/{number}").exists() or "zombie" in Path(f"/proc/{number}/status").read_text())


def eventually(ask: Callable[[], T]) -> T:
    """The first answer that is true. Raises AssertionError after ten seconds without one."""
    for _ in range(200):
        with suppress(OSError):
            if answer := ask():
                return answer
        time.sleep(0.05)
    raise AssertionError("nothing for ten seconds")
