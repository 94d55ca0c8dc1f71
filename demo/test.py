"""`make test`: every check there is, and one closing line with counts.

    python -m demo.test [PART...]      parts: lint unit molecule chain; none: all
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from demo.steps import CHECKOUT, REPORTS, Outcome, Step, duration, run
from demo.surroundings import enter

BIN = CHECKOUT / ".venv" / "bin"
CORES = "ansible_collections.canvas.fleet.plugins.module_utils"
LINTED = ("site.yml", "playbooks", "roles", "molecule", "inventory")  # never ".": it holds the link back to itself
COLLECTION_LINK = CHECKOUT / "collections"


def lint() -> Iterator[Step]:
    yield Step("lint: ruff", [str(BIN / "ruff"), "check", "."])
    yield Step(
        "lint: mypy strict on the cores",
        [str(BIN / "mypy"), "--config-file", "pyproject.toml", "-p", CORES],
        env={"MYPYPATH": str(COLLECTION_LINK)},
    )
    yield Step("lint: ansible-lint production", [str(BIN / "ansible-lint"), *LINTED])


def unit() -> Iterator[Step]:
    yield Step("unit tests", [str(BIN / "pytest"), "-n", "2", "--junitxml", str(REPORTS / "unit.xml")])


def molecule() -> Iterator[Step]:
    for config in sorted(CHECKOUT.glob("molecule/*/molecule.yml")):
        name = config.parent.name
        yield Step(f"molecule: {name}", [str(BIN / "molecule"), "test", "--scenario-name", name])


def chain() -> Iterator[Step]:
    for test in sorted(CHECKOUT.glob("tests/integration/test_*.py")):
        report = REPORTS / f"{test.stem}.xml"
        yield Step(f"whole chain: {test.stem}", [str(BIN / "pytest"), str(test), "--junitxml", str(report)], shown=True)


PARTS = {"lint": lint, "unit": unit, "molecule": molecule, "chain": chain}


def counts(outcome: Outcome) -> tuple[int, int]:
    """Passed and failed of a step: a pytest run counts its tests, everything else is one."""
    report = next((Path(word) for word in outcome.step.command if word.endswith(".xml")), None)
    if report is None or not report.exists():
        return (1, 0) if outcome.passed else (0, 1)
    found = re.findall(r'(tests|failures|errors|skipped)="(\d+)"', report.read_text())
    numbers = {key: int(value) for key, value in found}
    failed = numbers["failures"] + numbers["errors"]
    passed = numbers["tests"] - failed - numbers["skipped"]
    return passed, max(failed, 0 if outcome.passed else 1)


def main(names: list[str]) -> int:
    enter()
    REPORTS.mkdir(exist_ok=True)
    for stale in REPORTS.glob("*.xml"):
        stale.unlink()
    outcomes = [run(step) for name in names or PARTS for step in PARTS[name]()]
    passed, failed = (sum(column) for column in zip(*map(counts, outcomes), strict=True)) if outcomes else (0, 0)
    for outcome in outcomes:
        print(f"{'ok  ' if outcome.passed else 'FAIL'} {duration(outcome.seconds):>12}  {outcome.step.name}")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
