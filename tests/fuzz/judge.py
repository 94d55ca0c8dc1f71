"""What is demanded of the plan of a made-up fleet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from ansible_collections.canvas.fleet.plugins.action.plan import DECIDE
from ansible_collections.canvas.fleet.plugins.module_utils.core import shown
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding
from ansible_collections.canvas.fleet.plugins.module_utils.plan.findings_text import finding_lines
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import Plan, make_plan
from ansible_collections.canvas.fleet.plugins.module_utils.plan.text import plan_text

from tests.fuzz import mutations, traps, valid
from tests.fuzz.fleet import Host, host_seen, plan, use_cache
from tests.unit.support import dataset_files as files

LIMIT = 2.0  # s
ROWS = 400


def chance(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - repeatable, not secret


class Ground:
    """The data that all fleets share, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        use_cache(folder / "cache")
        train = files.write(folder / "train/train_split.parquet", [files.row(number) for number in range(ROWS)])
        test = files.write(folder / "test/test_split.parquet", [files.row(ROWS + number) for number in range(40)])
        self.base: dict[str, Any] = {"dataset_train": str(train), "dataset_test": str(test)}


@dataclass(frozen=True)
class Case:
    """A fleet with one wrong thing at one host; a sound run stands beside it."""

    name: str
    hosts: tuple[Host, ...]
    at: str
    codes: frozenset[str] = frozenset()  # any of these; empty: any code
    variables: frozenset[str] = frozenset()  # any of these; empty: any or none

    def answers(self, found: Finding) -> bool:
        return (
            found.refuses
            and found.host == self.at
            and (not self.codes or found.code in self.codes)
            and (not self.variables or found.variable in self.variables)
            and all((found.found, found.expected, found.because, found.remedy))
        )


def every_wrong(ground: Ground, seed: int) -> Iterator[Case]:
    for one in (*mutations.wrong_values(), *mutations.misspelt(chance(seed))):
        host = Host("a", {**ground.base, one.variable: one.value})
        yield Case(one.name, (host,), "a", variables=one.blamed)
    for trap in traps.traps(ground.folder, ground.base):
        yield Case(trap.name, trap.hosts, trap.at, codes=frozenset({trap.code}))


def wrong(ground: Ground, count: int, seed: int) -> list[Case]:
    """`count` of them, evenly of all kinds; 0 is all."""
    cases = list(every_wrong(ground, seed))
    return chance(seed).sample(cases, count) if count else cases


def missed(case: Case) -> str:
    """Why the fleet was not stopped as it must be; "" when it was."""
    made = plan(case.hosts)
    told = [found for found in made.findings if case.answers(found)]
    if not told:
        others = sorted({f"{found.severity} {found.code} {found.variable}" for found in made.findings})
        return f"{case.name}: not told at {case.at}; {others or 'nothing was'}"
    if not all(host.refused for host in made.hosts.values()):
        return f"{case.name}: told, and the run is not refused"
    return unsaid(told[0])


def unsaid(found: Finding) -> str:
    """A part of a finding that its text does not show; "" when all is said."""
    text = " ".join(" ".join(finding_lines(found)).split())
    parts = map(shown.line, (found.host, found.variable, found.found, found.expected, found.remedy))
    return "; ".join(f"{found.code} does not say {part!r}" for part in parts if " ".join(part.split()) not in text)


def false_errors(ground: Ground, seed: int) -> list[str]:
    """Errors of a fleet that is right."""
    made: Plan = plan(valid.fleet(chance(seed), ground.base))
    return [
        f"seed {seed}: {found.code} at {found.host}: {found.variable} {found.found}"
        for found in made.findings
        if found.severity == "error"
    ]


def fifty_hosts(ground: Ground) -> float:
    """Seconds of CPU that planning and printing takes for 25 runs of two hosts."""
    one = host_seen(Host("h", ground.base))
    seen = []
    for number in range(50):
        name, run = f"h{number:02}", f"run{number // 2}"
        told = {**one.settings, "fleet_address": name, "training_run": run}
        seen.append(replace(one, name=name, run=run, settings=told))
    begun = time.process_time()
    plan_text(make_plan(seen, DECIDE))
    return time.process_time() - begun
