"""python -m demo.depot CACHE OUT: fill the depot's folder; what the inventory needs goes to stdout as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from demo.depot import build
from demo.depot.parts import DepotError
from demo.podman import PodmanError


def main(words: list[str]) -> int:
    if len(words) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    cache, out = (Path(word).resolve() for word in words)
    try:
        facts = build(cache, out, lambda line: print(line, file=sys.stderr, flush=True))
    except (DepotError, PodmanError) as error:
        print(f"canvas-fleet: {error}", file=sys.stderr)
        return 1
    print(json.dumps(facts, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
