"""`make test`: every check there is, and one closing line with counts.

python -m demo.test [PART...]      parts: lint unit molecule chain; none: all
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from demo.steps import CHECKOUT, REPORTS, Outcome, Step, duration, run_all
from demo.surroundings import enter

PYTHON = str(CHECKOUT / ".venv" / "bin" / "python")
PLUGINS = "ansible_collections.canvas.fleet.plugins"
LINTED = ("site.yml", "molecule", "inventory")  # not ".": it holds the link back to itself
GATES = ("importer", "ansible-lint", "sanity", "docs", "changelog")
TORCH = CHECKOUT / ".cache" / "torch" / "env" / "bin" / "python"
# Steps at once. A scenario takes a minute of one core's time in two minutes: four of them keep two cores busy.
PLACES = 4
FIRST = ("test_site", "test_slips", "test_init")  # the longest first, and short steps last: no core waits at the end
ONE_PLACE = ("test_slips", "test_init")  # they wait for answers more than they work
DEPOT = Step("depot for the scenarios", [PYTHON, "-m", "demo.fleet", "depot"])
TRAINER = Step("python with torch for the demo's trainer", [PYTHON, "-m", "demo.torch_python"], after=(DEPOT.name,))
ARTIFACT = Step("the collection, built and installed", [PYTHON, "-m", "tools.artifact"])
BROWSER = Step("a browser for the page of an evaluation", [PYTHON, "-m", "demo.browser"])
PREPARATIONS = (DEPOT, TRAINER, ARTIFACT, BROWSER)


def lint() -> Iterator[Step]:
    yield ARTIFACT
    for gate in GATES:
        yield Step(f"lint of the collection: {gate}", [PYTHON, "-m", "tools.gates", gate], after=(ARTIFACT.name,))
    mypy = ["mypy", "--config-file", "pyproject.toml", "-p", PLUGINS]
    yield Step("lint: mypy strict on the plugins", mypy, env={"MYPYPATH": str(CHECKOUT / "collections")})
    yield Step("lint: ruff", ["ruff", "check", "."])
    yield Step("lint: ansible-lint production", ["ansible-lint", *LINTED])
    yield Step("lint: generated pages are fresh", ["python", "docs/generate.py", "--check"])


def unit() -> Iterator[Step]:
    yield Step("unit tests", ["pytest", "-n", "2", "--junitxml", str(REPORTS / "unit.xml")], places=2)
    yield BROWSER
    command = ["pytest", "tests/browser", "--junitxml", str(REPORTS / "browser.xml")]
    yield Step("the page of an evaluation in a browser", command, after=(BROWSER.name,))


def _length(scenario: Path) -> tuple[int, str]:
    """Size of its playbooks in bytes, which tells well enough how long it takes; the name decides between equals."""
    return sum(path.stat().st_size for path in scenario.glob("**/*.yml")), scenario.name


def molecule() -> Iterator[Step]:
    yield DEPOT
    folders = [config.parent for config in CHECKOUT.glob("molecule/*/molecule.yml")]
    for folder in sorted(folders, key=_length, reverse=True):
        name = folder.name
        command = ["molecule", "test", "--scenario-name", name]
        yield Step(f"molecule: {name}", command, after=(DEPOT.name,))


def chain() -> Iterator[Step]:
    yield from PREPARATIONS
    order = {name: number for number, name in enumerate(FIRST)}
    tests = CHECKOUT.glob("tests/integration/test_*.py")
    for test in sorted(tests, key=lambda path: (order.get(path.stem, len(order)), path)):
        command = ["pytest", "-v", str(test), "--junitxml", str(REPORTS / f"{test.stem}.xml")]
        # Threads of torch that wait for one another keep cores busy: with one a rank, two trainings are no slower.
        env = {"MINICANVAS_PYTHON": str(TORCH), "OMP_NUM_THREADS": "1"}
        places = 1 if test.stem in ONE_PLACE else 2
        yield Step(f"whole chain: {test.stem}", command, env=env, places=places, after=(TRAINER.name,))


PARTS = {"lint": lint, "chain": chain, "unit": unit, "molecule": molecule}


def counts(outcome: Outcome) -> tuple[int, int]:
    """Passed and failed: a pytest run counts its tests, a preparation counts only when it fails, all else is one."""
    report = next((Path(word) for word in outcome.step.command if word.endswith(".xml")), None)
    if report is None or not report.exists():
        return (int(outcome.passed and outcome.step not in PREPARATIONS), int(not outcome.passed))
    found = re.findall(r' (tests|failures|errors|skipped)="(\d+)"', report.read_text())
    numbers = {key: int(value) for key, value in found}
    failed = numbers["failures"] + numbers["errors"]
    passed = numbers["tests"] - failed - numbers["skipped"]
    return passed, max(failed, int(not outcome.passed))


def main(names: list[str]) -> int:
    if unknown := set(names) - set(PARTS):
        print(f"no such part: {' '.join(sorted(unknown))}\n{__doc__}", file=sys.stderr)
        return 2
    enter()
    REPORTS.mkdir(exist_ok=True)
    for stale in REPORTS.glob("*.xml"):
        stale.unlink()
    steps = {step.name: step for name in names or PARTS for step in PARTS[name]()}
    outcomes = run_all(list(steps.values()), PLACES)
    results = [counts(outcome) for outcome in outcomes]
    for outcome, (passed, failed) in zip(outcomes, results, strict=True):
        print(f"{duration(outcome.seconds):>12}  {passed:>5} passed {failed:>3} failed  {outcome.step.name}")
    total_failed = sum(failed for _, failed in results)
    print(f"{sum(passed for passed, _ in results)} passed, {total_failed} failed", flush=True)
    return 1 if total_failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
