"""The steps of `make demo`.

python -m demo up      until both trainings have ended whole and are evaluated; exit 0 only then
python -m demo down    removes hosts, depot, network, keys and addresses
"""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path
from typing import TextIO

from demo.steps import CHECKOUT, Step, duration, run
from demo.surroundings import enter

BIN = CHECKOUT / ".venv" / "bin"
PYTHON = str(BIN / "python")
PLAY = str(BIN / "ansible-playbook")
DEMO = ("-i", "inventory/demo")

UP = (
    Step("Build the image of a bare host", [PYTHON, "-m", "demo.image"]),
    Step("Start three bare hosts: atlas, bolt0, bolt1", [PYTHON, "-m", "demo.fleet", "hosts"]),
    Step("Fill and start the depot: hub, git, packages", [PYTHON, "-m", "demo.fleet", "depot"]),
    Step("Write addresses into the inventory", [PYTHON, "-m", "demo.fleet", "inventory"]),
    Step(
        "Bring the fleet up and follow it: ansible-playbook site.yml -e training_follow=true",
        [PLAY, *DEMO, "site.yml", "-e", "training_follow=true"],
        shown=True,
    ),
    Step(
        "See what both runs have learned: ansible-playbook playbooks/evaluate.yml -e evaluation_mode=answers",
        [PLAY, *DEMO, "playbooks/evaluate.yml", "-e", "evaluation_mode=answers"],
        shown=True,
    ),
)
DOWN = (Step("Remove hosts, depot, network and keys", [PYTHON, "-m", "demo.hosts", "down-all"]),)


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
        return through(UP if words == ["up"] else DOWN)


def only_one(path: Path) -> TextIO:
    """Held until it is closed or this process ends. Raises BlockingIOError when another process holds it."""
    path.parent.mkdir(exist_ok=True)
    lock = path.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def through(steps: tuple[Step, ...]) -> int:
    started = time.monotonic()
    for step in steps:
        if not run(step).passed:
            print(f"canvas-fleet: stopped at '{step.name}'; run the same again once that is mended", file=sys.stderr)
            return 1
    print(f"    all of it took {duration(time.monotonic() - started)}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\ncanvas-fleet: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
