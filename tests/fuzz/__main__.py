"""`python -m tests.fuzz`: wrong inventories are stopped in preflight, right ones are not, 50 hosts are planned fast.

Everything runs in this process: the settings and the plan are the real ones, the hosts are made up.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import judge


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--wrong", type=int, default=0, help="so many wrong inventories; 0 is all of them")
    options.add_argument("--right", type=int, default=200)
    options.add_argument("--seed", type=int, default=20261124)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        ground = judge.Ground(Path(folder))
        wrong = judge.wrong(ground, asked.wrong, asked.seed)
        missed = [text for case in wrong if (text := judge.missed(case))]
        sys.stdout.write(f"{len(wrong)} wrong inventories: {len(wrong) - len(missed)} refused, {len(missed)} not\n")
        false = [text for number in range(asked.right) for text in judge.false_errors(ground, asked.seed + number)]
        sys.stdout.write(f"{asked.right} right inventories: {len(false)} false errors\n")
        sys.stdout.write(f"{time.monotonic() - begun:.0f} s\n")
        spent = judge.fifty_hosts(ground)
        sys.stdout.write(f"plan of 50 hosts in 25 runs: {spent:.2f} s after the observations are in (limit 2 s)\n")
    for text in (*missed, *false):
        sys.stdout.write(f"  {text}\n")
    return 1 if missed or false or spent >= judge.LIMIT else 0


if __name__ == "__main__":
    sys.exit(main())
