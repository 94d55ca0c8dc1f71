"""`make chaos`: what has to hold when things break, shown by breaking them. Hours on two cores, so it is no part of CI.

python -m tests.chaos [PART[=POINTS]...]     parts: see PARTS; none: all
"""

from __future__ import annotations

import importlib
import json
import sys
import time

from demo.podman import PodmanError
from demo.steps import REPORTS, duration
from demo.surroundings import enter
from tests.finder import install

# Each is a module here with run(points, say) -> rows, each with `held`, and summary(rows) -> a line.
PARTS = {
    "controller": 40,
    "flood": 5000,
    "saves": 200,
    "secrets": 6,
    "faults": 9,
    "slow": 3600,
    "reach": 99,
    "places": 99,
    "full": 200,
    "two": 100,
}


def main(words: list[str]) -> int:
    asked = dict(word.partition("=")[::2] for word in words) or dict.fromkeys(PARTS, "")
    if unknown := set(asked) - set(PARTS):
        print(f"no such part: {' '.join(sorted(unknown))}\n{__doc__}", file=sys.stderr)
        return 2
    enter()
    install()
    REPORTS.mkdir(exist_ok=True)
    lines, broken = [], 0
    for part, points in asked.items():
        print(f"==> {part}", flush=True)
        begin = time.monotonic()
        module = importlib.import_module(f"tests.chaos.{part}")
        try:
            rows = module.run(int(points or PARTS[part]), lambda line: print(f"    {line}", flush=True))
        except (PodmanError, RuntimeError) as error:
            rows, broken = [], broken + 1
            print(f"canvas-fleet: {error}", file=sys.stderr)
        (REPORTS / f"chaos-{part}.json").write_text(json.dumps(rows, indent=2) + "\n")
        broken += sum(not row["held"] for row in rows)
        lines.append(f"{module.summary(rows)} ({duration(time.monotonic() - begin)})")
    print("\n".join(lines), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
