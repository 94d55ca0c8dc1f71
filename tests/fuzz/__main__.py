"""`python -m tests.fuzz`: wrong inventories are stopped in preflight, right ones are not, 50 hosts are planned fast.

Everything runs in this process: the settings and the plan are the real ones, the hosts are made up.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import answers, inventories, judge


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--wrong", type=int, default=0, help="so many wrong inventories; 0 is all of them")
    options.add_argument("--right", type=int, default=200)
    options.add_argument("--answers", type=int, default=0, help="only so many mutated answers of a host, such as 20000")
    options.add_argument(
        "--values", type=int, help="only so many odd values of an inventory; 0 is each of each variable"
    )
    options.add_argument("--seed", type=int, default=20261124)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        ground = judge.Ground(Path(folder))
        if asked.answers:
            return told(
                f"{asked.answers} answers", answers.broken(ground.base, asked.answers, judge.chance(asked.seed))
            )
        if asked.values is not None:
            return told("odd values", inventories.broken(ground.base, asked.values, judge.chance(asked.seed)))
        cases = judge.wrong(ground, asked.wrong, asked.seed)
        missed = [text for case in cases if (text := judge.missed(case))]
        sys.stdout.write(f"{len(cases)} wrong inventories: {len(cases) - len(missed)} refused, {len(missed)} not\n")
        false = [text for number in range(asked.right) for text in judge.false_errors(ground, asked.seed + number)]
        sys.stdout.write(f"{asked.right} right inventories: {len(false)} false errors\n")
        sys.stdout.write(f"{time.monotonic() - begun:.0f} s\n")
        spent = judge.fifty_hosts(ground)
        sys.stdout.write(f"plan of 50 hosts in 25 runs: {spent:.2f} s after the observations are in (limit 2 s)\n")
    for text in (*missed, *false):
        sys.stdout.write(f"  {text}\n")
    return 1 if missed or false or spent >= judge.LIMIT else 0


def told(what: str, wrong: list[str]) -> int:
    sys.stdout.write("".join([f"{what}: {len(wrong)} went wrong\n", *(f"  {text:.400}\n" for text in wrong)]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
