"""The controller is killed in the middle of a converge, again and again; what is left behind has to converge.

Each point has a bare host of its own and one converge that is killed (SIGKILL to its whole process group, ssh included)
in a task of its own. An undisturbed converge shows the tasks and their durations. Every task is cut once, and the
remaining points go to the long ones. Then: one converge has to succeed, the next to change
nothing. The hosts have the light environment of the bench and a unit that is not started: all before it can be cut.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from demo import bench, fleet, hosts
from demo.podman import CHECKOUT, STATE

GROUP = hosts.Group(STATE / "chaos-controller", "chaosctl")
TOGETHER = 4  # hosts at a time
SECONDS = 900.0  # for one converge that is not killed
T = TypeVar("T")
_TASK = re.compile(r"TASK \[(.*?)\] \*")
_RECAP = re.compile(r"ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


@dataclass(frozen=True)
class Moment:
    """`after` seconds from the start of the task `task` when it comes for the `time`th time (from 1)."""

    task: str
    time: int
    after: float


@dataclass(frozen=True)
class Point:
    """One kill and what came after it."""

    task: str  # the task in progress
    seconds_into_it: float
    converged: bool
    changed_then: int  # by the converge after the mending one; -1 when it never came to it
    told: str  # of a converge that failed

    @property
    def held(self) -> bool:
        return self.converged and self.changed_then == 0


def play(inventory: Path, log: Path, cut: Moment | None = None) -> tuple[int, str, list[Moment]]:
    """Exit code, output, and the tasks of one `site.yml`, each `after` as many seconds as it took."""
    begin, seen = time.monotonic(), list[tuple[str, float]]()
    with log.open("w") as out, subprocess.Popen(
        ["ansible-playbook", "-i", str(inventory), "site.yml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=CHECKOUT,
        start_new_session=True,
    ) as running:  # fmt: skip
        assert running.stdout

        def kill() -> None:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)

        killer = threading.Timer(SECONDS, kill)
        killer.start()
        for line in running.stdout:
            out.write(line)
            if found := _TASK.match(line):
                seen.append((found[1], time.monotonic() - begin))
                if cut and [name for name, _ in seen].count(cut.task) == cut.time and found[1] == cut.task:
                    killer.cancel()
                    killer = threading.Timer(cut.after, kill)
                    killer.start()
        killer.cancel()
    ends = [*(start for _, start in seen[1:]), time.monotonic() - begin]
    names = [name for name, _ in seen]
    tasks = [
        Moment(name, names[: number + 1].count(name), end - start)
        for number, ((name, start), end) in enumerate(zip(seen, ends, strict=True))
    ]
    return running.returncode, log.read_text(), tasks


def changes(text: str) -> int:
    found = _RECAP.search(text)
    return int(found[1]) if found else -1


def one(name: str, inventory: Path, moment: Moment) -> Point:
    """Kill one converge of a bare host at `moment`, mend it, and look whether a third changes anything."""
    logs = GROUP.state / "logs"
    logs.mkdir(exist_ok=True)
    code, _, tasks = play(inventory, logs / f"{name}-killed.log", moment)
    task = tasks[-1].task if code == -signal.SIGKILL and tasks else "after its end"
    into = round(tasks[-1].after, 1) if tasks else 0.0
    code, text, _ = play(inventory, logs / f"{name}-mended.log")
    if code != 0:
        return Point(task, into, False, -1, text[-1500:])
    code, text, _ = play(inventory, logs / f"{name}-again.log")
    return Point(task, into, True, changes(text) if code == 0 else -1, "" if code == 0 else text[-1500:])


def spread(tasks: Sequence[Moment], points: int) -> list[Moment]:
    """Where to cut: each task once, at a random moment of it; the rest where the time goes. The longest come first."""
    chance = random.Random(7)  # noqa: S311 - repeatable, not secret
    longest = sorted(tasks, key=lambda task: -task.after)
    more = chance.choices(tasks, [task.after for task in tasks], k=max(0, points - len(longest)))
    return [replace(task, after=task.after * chance.random()) for task in [*longest, *more][:points]]


def run(points: int, say: Callable[[str], None]) -> list[dict[str, object]]:
    """Rows, one per point; each has `held`."""
    depot = fleet.ensure_depot()
    tasks = _tasks(depot)
    took = sum(task.after for task in tasks)
    say(f"a whole converge of {TOGETHER} hosts beside each other takes {took:.0f} s and has {len(tasks)} tasks")
    moments = spread(tasks, points)
    rows: list[dict[str, object]] = []
    for begin in range(0, points, TOGETHER):
        for point in _batch(moments[begin : begin + TOGETHER], begin, depot):
            rows.append({**asdict(point), "held": point.held})
            say(
                f"{len(rows):>3}/{points}  killed {point.seconds_into_it:5.1f} s into '{point.task}': {_verdict(point)}"
            )
    return rows


def _verdict(point: Point) -> str:
    if not point.converged:
        return f"DID NOT CONVERGE\n{point.told}"
    return "converged, then changed=0" if point.held else f"then changed={point.changed_then}\n{point.told}"


def _tasks(depot: dict[str, object]) -> list[Moment]:
    """The tasks of a converge from nothing, with as many hosts beside it as there will be."""
    names = [f"length{number}" for number in range(TOGETHER)]
    done = _each(names, depot, lambda name, folder: play(folder, GROUP.state / f"{name}.log"))
    hosts.down(GROUP)
    for code, text, _ in done:
        if code != 0:
            raise RuntimeError(f"a converge that nobody disturbs fails:\n{text[-3000:]}")
    return done[0][2]


def _batch(moments: Sequence[Moment], begin: int, depot: dict[str, object]) -> list[Point]:
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
