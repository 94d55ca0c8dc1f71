"""The steps of `make demo`. This program itself needs nothing but Python, so that it can make the environment, too.

python -m demo up      until both trainings have ended whole and are evaluated; exit 0 only then
python -m demo down    removes hosts, depot, network, keys and addresses
"""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path
from typing import TextIO

from demo.podman import STATE
from demo.steps import CHECKOUT, Step, duration, run, run_all
from demo.surroundings import enter

PYTHON = str(CHECKOUT / ".venv" / "bin" / "python")
IMAGE = Step("Build the image of a bare host", [sys.executable, "-m", "demo.image"])
VENV = Step("Make the environment of the demo", ["demo/bootstrap.sh", "demo"])
HOSTS = Step(
    "Start three bare hosts: atlas, bolt0, bolt1", [PYTHON, "-m", "demo.fleet", "hosts"], after=(IMAGE.name, VENV.name)
)
DEPOT = Step("Fill and start the depot: hub, git, packages", [PYTHON, "-m", "demo.fleet", "depot"], after=(VENV.name,))
INVENTORY = Step("Write addresses into the inventory", [PYTHON, "-m", "demo.fleet", "inventory"])
PREPARATIONS = (IMAGE, VENV, HOSTS, DEPOT)
PLACES = 2  # at once; each waits for downloads as much as it works
CONVERGE = Step(
    "Bring the fleet up and follow it: ansible-playbook site.yml -e training_follow=true",
    [PYTHON, "-m", "demo.play", "site.yml", "-i", "inventory/demo", "-e", "training_follow=true"],
    shown=True,
)
EVALUATE = Step(
    "See what both runs have learned: ansible-playbook playbooks/evaluate.yml -e evaluation_mode=answers",
    [PYTHON, "-m", "demo.play", "playbooks/evaluate.yml", "-i", "inventory/demo", "-e", "evaluation_mode=answers"],
    shown=True,
)
EVALUATED = STATE / "evaluated"  # goes with the fleet
PAGES = "fetched/{atlas,bolt}/evaluation/index.html"
ANEW = "ansible-playbook -i inventory/demo playbooks/evaluate.yml -e evaluation_mode=answers"
DOWN = Step("Remove hosts, depot, network and keys", [sys.executable, "-m", "demo.hosts", "down-all"])


def main(words: list[str]) -> int:
    if words not in (["up"], ["down"]):
        print(__doc__, file=sys.stderr)
        return 2
    enter()
    try:
        alone = only_one(CHECKOUT / ".cache" / "demo.lock")
    except BlockingIOError:
        print("canvas-fleet: another make demo of this checkout is under way: wait for it, or end it", file=sys.stderr)
        return 1
    with alone:
        return up() if words == ["up"] else run(DOWN).code


def only_one(path: Path) -> TextIO:
    """Held until it is closed or this process ends. Raises BlockingIOError when another process holds it."""
    path.parent.mkdir(exist_ok=True)
    lock = path.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def up() -> int:
    started = time.monotonic()
    outcomes = run_all(PREPARATIONS, PLACES)
    for step in (INVENTORY, CONVERGE, *(() if EVALUATED.exists() else (EVALUATE,))):
        if all(outcome.passed for outcome in outcomes):
            outcomes.append(run(step))
    failed = [outcome.step.name for outcome in outcomes if not outcome.passed]
    if failed:
        print(f"canvas-fleet: stopped at '{failed[0]}'; run the same again once that is mended", file=sys.stderr)
        return 1
    if outcomes[-1].step is EVALUATE:
        EVALUATED.touch()
    else:
        print(f"    what both runs have learned: {PAGES}; anew: {ANEW}")
    print(f"    all of it took {duration(time.monotonic() - started)}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\ncanvas-fleet: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
