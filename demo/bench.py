"""`make bench-converge`: how long a converged `site.yml` takes, by number of hosts.

python -m demo.bench [HOSTS...]      default: 1 2 4 8

One host is converged for real; the others start as copies of it, and are converged once more before anything is timed.
Each is a run of its own, whose training is not started. The figures go to reports/bench-converge.json as well.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from demo import fleet, hosts
from demo.podman import MARK, STATE, podman
from demo.steps import REPORTS, duration
from demo.surroundings import enter

GROUP = hosts.Group(STATE / "bench", "bench")
COPY = f"localhost/canvas-fleet-bench:{MARK}"
LIMIT = 6.0  # seconds at eight hosts: the project's goal
SLOPE = 0.4  # seconds for each further host
ROUNDS = 3


class BenchError(RuntimeError):
    """A play failed, or changed something when nothing was left to change."""


def inventory(names: list[str]) -> Path:
    """An inventory of these hosts alone, with the demo's variables."""
    folder = GROUP.state / f"inventory-{len(names)}"
    depot = json.loads(fleet.RECORD.read_text())
    fleet.write_generated(folder, GROUP, depot)
    shutil.copy(fleet.INVENTORY / "group_vars" / "trainers.yml", folder / "group_vars" / "trainers.yml")
    addresses = hosts.listing(GROUP)
    members = {name: {"ansible_host": addresses[name]["address"]} for name in names}
    trainers: dict[str, Any] = {"hosts": members, "vars": {"training_state": "present"}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"trainers": trainers}}}))
    return folder / "hosts.yml"


def converge(names: list[str], still: bool) -> float:
    """Seconds that site.yml took. Raises BenchError when it fails, or `still` and it changed something."""
    begin = time.monotonic()
    log = REPORTS / f"bench-{len(names)}.log"
    with log.open("wb") as stream:
        command = ["ansible-playbook", "-i", str(inventory(names)), "site.yml"]
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, check=False).returncode
    text = log.read_text(errors="replace")
    if code or (still and text.count("changed=0 ") != len(names)):
        raise BenchError(f"site.yml on {len(names)} hosts {'failed' if code else 'changed something'}: see {log}")
    return time.monotonic() - begin


@contextmanager
def copies(count: int) -> Iterator[list[str]]:
    """`count` hosts that are converged already, gone afterwards together with the image they were copied from."""
    names = [f"gauge{number}" for number in range(count)]
    try:
        fleet.ensure_depot()
        hosts.up(GROUP, names[:1])
        print(f"the first host is converged in {duration(converge(names[:1], still=False))}", flush=True)
        podman("commit", "--quiet", GROUP.container(names[0]), COPY, timeout=600)
        hosts.up(GROUP, names[1:], picture=COPY)
        print(f"{count} hosts are converged in {duration(converge(names, still=False))}", flush=True)
        yield names
    finally:
        hosts.down(GROUP)
        podman("rmi", "--force", COPY, check=False)


def slope(seconds: dict[int, float]) -> float:
    """Seconds that a further host costs, between the smallest and the largest fleet that was timed."""
    low, high = min(seconds), max(seconds)
    return (seconds[high] - seconds[low]) / (high - low) if high > low else 0.0


def main(words: list[str]) -> int:
    enter()
    sizes = sorted({int(word) for word in words} or {1, 2, 4, 8})
    REPORTS.mkdir(exist_ok=True)
    seconds: dict[int, float] = {}
    with copies(max(sizes)) as names:
        for size in sizes:
            rounds = [converge(names[:size], still=True) for _ in range(ROUNDS)]
            seconds[size] = statistics.median(rounds)
            told = ", ".join(f"{each:.1f}" for each in rounds)
            print(f"{size:>3} hosts  {seconds[size]:5.1f} s  ({told})", flush=True)
    growth = slope(seconds)
    print(f"a further host costs {growth:.2f} s (goal {SLOPE} s); goal at 8 hosts {LIMIT} s")
    (REPORTS / "bench-converge.json").write_text(json.dumps({"seconds": seconds, "per_host": growth}, indent=2) + "\n")
    return 0 if growth <= SLOPE and seconds.get(8, 0.0) <= LIMIT else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchError as error:
        print(f"canvas-fleet: {error}", file=sys.stderr)
        sys.exit(1)
