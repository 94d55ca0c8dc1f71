"""The demo's hosts and the depot beside them, and what an inventory has to know about both.

python -m demo.fleet depot|hosts|inventory
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from demo import depot as content
from demo import hosts
from demo.depot.parts import DepotError
from demo.podman import CHECKOUT, STATE, PodmanError, podman

NAMES = ("atlas", "bolt0", "bolt1")
FLEET = hosts.Group(STATE / "hosts", "demo")
DEPOT = hosts.Group(STATE / "depot", "depot")
CONTENT = STATE / "depot" / "content"
CACHE = CHECKOUT / ".cache" / "depot"
RECORD = STATE / "depot" / "facts.json"
INVENTORY = CHECKOUT / "inventory" / "demo"


def ensure_depot() -> dict[str, Any]:
    """Fills, starts and asks the depot; returns what its builder says, and its address. Quick when all is there."""
    server = CONTENT / "server.py"
    before = server.read_bytes() if server.exists() else b""
    facts = content.build(CACHE, CONTENT, lambda line: print(line, file=sys.stderr, flush=True))
    address = hosts.up(DEPOT, ["depot"], "depot", [f"{CONTENT}:/srv/depot:ro"])["depot"]
    if before and server.read_bytes() != before:
        podman("exec", DEPOT.container("depot"), "systemctl", "restart", "depot-http.service")
    _wait(f"http://{address}{facts['index_path']}")
    facts = {**facts, "address": address}
    _write(RECORD, json.dumps(facts, indent=2))
    return facts


def _wait(url: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own depot, over http
                return
        except OSError as error:
            if time.monotonic() > until:
                raise PodmanError(f"the depot does not answer at {url}: {error}") from error
            time.sleep(0.2)


def generated(group: hosts.Group, depot: dict[str, Any]) -> dict[str, Any]:
    """The variables that only the machine knows: addresses, where the keys lie, what the depot holds."""
    return {
        "demo_state": str(group.state),
        "demo_addresses": {name: known["address"] for name, known in sorted(hosts.listing(group).items())},
        "demo_depot_address": depot["address"],
        "demo_depot": {key: value for key, value in depot.items() if key != "address"},
    }


def write_generated(folder: Path, group: hosts.Group, depot: dict[str, Any]) -> None:
    text = yaml.safe_dump(generated(group, depot), sort_keys=True, width=120)
    head = "---\n# Written by `make demo`; never edit, never commit.\n"
    _write(folder / "group_vars" / "all" / "generated.yml", head + text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.rename(path)


def main(words: list[str]) -> int:
    try:
        for word in words:
            if word == "depot":
                print(f"depot at {ensure_depot()['address']}")
            elif word == "hosts":
                print(" ".join(f"{name} {address}" for name, address in hosts.up(FLEET, NAMES).items()))
            elif word == "inventory":
                write_generated(INVENTORY, FLEET, json.loads(RECORD.read_text()))
            else:
                print(__doc__, file=sys.stderr)
                return 2
    except (DepotError, PodmanError) as error:
        print(f"canvas-fleet: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
