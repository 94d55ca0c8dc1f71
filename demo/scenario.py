"""Hosts for a molecule scenario, with the demo's own depot and variables.

python -m demo.scenario create|destroy NAME
"""

from __future__ import annotations

import shutil
import sys
from typing import Any

import yaml

from demo import fleet, hosts
from demo.depot.parts import DepotError
from demo.podman import CHECKOUT, STATE, PodmanError


def platforms(name: str) -> list[dict[str, Any]]:
    """The scenario's own list of hosts, else one host named `host`. Each is a trainer, and in its `groups`."""
    text = (CHECKOUT / "molecule" / name / "molecule.yml").read_text()
    return (yaml.safe_load(text) or {}).get("platforms") or [{"name": "host"}]


def create(name: str) -> None:
    wanted = platforms(name)
    group = hosts.Group(STATE / "molecule" / name, name)
    depot = fleet.ensure_depot()
    addresses: dict[str, str] = {}
    for kind in sorted({platform.get("image", "host") for platform in wanted}):
        names = [platform["name"] for platform in wanted if platform.get("image", "host") == kind]
        addresses |= hosts.up(group, names, kind)
    folder = group.state / "inventory"
    fleet.write_generated(folder, group, depot)
    shutil.copy(fleet.INVENTORY / "group_vars" / "trainers.yml", folder / "group_vars" / "trainers.yml")
    children: dict[str, Any] = {"trainers": {"hosts": {host: {"ansible_host": at} for host, at in addresses.items()}}}
    for platform in wanted:
        for child in platform.get("groups", []):
            children.setdefault(child, {"hosts": {}})["hosts"][platform["name"]] = {}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": children}}))


def destroy(name: str) -> None:
    hosts.down(hosts.Group(STATE / "molecule" / name, name))


def main(words: list[str]) -> int:
    if len(words) != 2 or words[0] not in ("create", "destroy"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        {"create": create, "destroy": destroy}[words[0]](words[1])
    except (DepotError, PodmanError) as error:
        print(f"canvas-fleet: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
