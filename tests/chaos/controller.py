"""The controller is killed in the middle of a converge, again and again; what is left behind has to converge.

Each point has a bare host of its own and one converge that is killed (SIGKILL to its whole process group, ssh included)
at a moment of its own, spread over the length of a full converge. Then: one converge has to succeed, the next to change
nothing. The hosts have the light environment of the bench and a unit that is not started: all before it can be cut.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from demo import bench, fleet, hosts
from demo.podman import CHECKOUT, STATE

GROUP = hosts.Group(STATE / "chaos-controller", "chaosctl")
TOGETHER = 4  # hosts at a time
SECONDS = 900.0  # for one converge that is not killed
T = TypeVar("T")
_RECAP = re.compile(r"ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


@dataclass(frozen=True)
class Point:
    """One kill and what came after it. Seconds from the converge's start."""

    killed_after: float
    task: str  # the task in progress
    converged: bool
    changed_then: int  # by the converge after the mending one; -1 when it never came to it
    told: str  # of a converge that failed

    @property
    def held(self) -> bool:
        return self.converged and self.changed_then == 0


def play(inventory: Path, log: Path, kill_after: float | None = None) -> tuple[int | None, str]:
    """Exit code (None when it was killed) and output of one `site.yml`."""
    with log.open("w") as out:
        running = subprocess.Popen(
            ["ansible-playbook", "-i", str(inventory), "site.yml"],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            start_new_session=True,
        )
        try:
            code: int | None = running.wait(kill_after if kill_after is not None else SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            code = None
    return code, log.read_text()


def changes(text: str) -> int:
    found = _RECAP.search(text)
    return int(found[1]) if found else -1


def in_progress(text: str) -> str:
    tasks = re.findall(r"^TASK \[(.*?)\]", text, re.M)
    return tasks[-1] if tasks else "before the first task"


def one(name: str, inventory: Path, moment: float) -> Point:
    """Kill one converge of a bare host after `moment` seconds, mend it, and look whether a third changes anything."""
    logs = GROUP.state / "logs"
    logs.mkdir(exist_ok=True)
    code, text = play(inventory, logs / f"{name}-killed.log", moment)
    task = "after its end" if code is not None else in_progress(text)
    code, text = play(inventory, logs / f"{name}-mended.log")
    if code != 0:
        return Point(round(moment, 1), task, False, -1, text[-1500:])
    code, text = play(inventory, logs / f"{name}-again.log")
    return Point(round(moment, 1), task, True, changes(text) if code == 0 else -1, "" if code == 0 else text[-1500:])


def run(points: int, say: Callable[[str], None]) -> list[dict[str, object]]:
    """Rows, one per point; each has `held`."""
    depot = fleet.ensure_depot()
    length = _length(depot)
    say(f"a whole converge of {TOGETHER} hosts beside each other takes {length:.0f} s; {points} kills over it")
    chance = random.Random(7)  # noqa: S311 - repeatable, not secret
    moments = [length * (number + chance.random()) / points for number in range(points)]
    rows: list[dict[str, object]] = []
    for begin in range(0, points, TOGETHER):
        for point in _batch(moments[begin : begin + TOGETHER], begin, depot):
            rows.append({**asdict(point), "held": point.held})
            where = f"killed after {point.killed_after:5.1f} s in '{point.task}'"
            say(f"{len(rows):>3}/{points}  {where}: {_verdict(point)}")
    return rows


def _verdict(point: Point) -> str:
    if not point.converged:
        return f"DID NOT CONVERGE\n{point.told}"
    return "converged, then changed=0" if point.held else f"then changed={point.changed_then}\n{point.told}"


def _length(depot: dict[str, object]) -> float:
    """Seconds of a converge from nothing, with as many hosts beside it as there will be."""
    names = [f"length{number}" for number in range(TOGETHER)]
    begin = time.monotonic()
    for code, text in _each(names, depot, lambda name, folder: play(folder, GROUP.state / f"{name}.log")):
        if code != 0:
            raise RuntimeError(f"a converge that nobody disturbs fails:\n{text[-3000:]}")
    length = time.monotonic() - begin
    hosts.down(GROUP)
    return length


def _batch(moments: Sequence[float], begin: int, depot: dict[str, object]) -> list[Point]:
    names = [f"point{begin + number}" for number in range(len(moments))]
    when = dict(zip(names, moments, strict=True))
    try:
        return list(_each(names, depot, lambda name, folder: one(name, folder, when[name])))
    finally:
        hosts.down(GROUP)


def _each(names: list[str], depot: dict[str, object], work: Callable[[str, Path], T]) -> list[T]:
    folders = {
        name: bench.inventory(GROUP, GROUP.state / f"inventory-{name}", {name: address}, depot)
        for name, address in hosts.up(GROUP, names).items()
    }
    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(lambda name: work(name, folders[name]), names))


def summary(rows: Sequence[dict[str, object]]) -> str:
    held = sum(bool(row["held"]) for row in rows)
    tasks = len({row["task"] for row in rows})
    return f"controller killed at {len(rows)} points in {tasks} tasks: {held} converged, then changed=0"
