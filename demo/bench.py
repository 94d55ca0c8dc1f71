"""Times of a converged `site.yml` at 1, 2, 4 and 8 hosts, beside one large module; the median of three runs.

python -m demo.bench [HOSTS...]

The hosts are bare ones with a light environment (no torch) and a unit that is not started: what is timed is what a
converge of a fleet in sync costs, not what it made.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import yaml

from demo import fleet, hosts
from demo.depot.parts import DepotError
from demo.podman import STATE, PodmanError
from demo.steps import REPORTS
from demo.surroundings import enter

BENCH = hosts.Group(STATE / "bench", "bench")
COUNTS = (1, 2, 4, 8)
RUNS = 3
# What no converge can be quicker than: one play with one task, the largest module that there is.
ONE_MODULE = [{"hosts": "trainers", "gather_facts": False, "tasks": [{"canvas.fleet.host_info": {}}]}]
LIGHT = {
    "conda_env_pip_packages": ["pyyaml=={{ demo_depot.pip_packages.pyyaml }}"],
    "conda_env_imports": ["yaml"],
    "training_state": "present",
}


def inventory(
    group: hosts.Group, folder: Path, addresses: dict[str, str], depot: dict[str, object], light: bool = True
) -> Path:
    """An inventory folder of bare hosts, with the light environment or the demo's own."""
    shutil.rmtree(folder, ignore_errors=True)
    fleet.write_generated(folder, group, depot)
    shutil.copy(fleet.INVENTORY / "group_vars" / "trainers.yml", folder / "group_vars" / "trainers.yml")
    listed = {name: {"ansible_host": address, **(LIGHT if light else {})} for name, address in addresses.items()}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"trainers": {"hosts": listed}}))
    return folder


def converge(inventory: Path, playbook: str = "site.yml") -> float:
    """Seconds that one playbook takes. Raises RuntimeError when it fails."""
    begin = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), playbook], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-1000:])
    return time.monotonic() - begin


def _inventory(addresses: dict[str, str], depot: dict[str, object]) -> Path:
    return inventory(BENCH, BENCH.state / f"inventory-{len(addresses)}", addresses, depot)


def one_module(folder: Path) -> str:
    """The path of the playbook that calls one large module on each host."""
    path = folder / "one_module.yml"
    path.write_text(yaml.safe_dump(ONE_MODULE))
    return str(path)


def _middle(inventory: Path, playbook: str) -> float:
    return statistics.median(converge(inventory, playbook) for _ in range(RUNS))


def main(words: list[str]) -> int:
    enter()
    counts = sorted(int(word) for word in words) or list(COUNTS)
    names = [f"bench{number}" for number in range(counts[-1])]
    try:
        depot = fleet.ensure_depot()
        addresses = hosts.up(BENCH, names)
        print(f"{len(names)} bare hosts; the first converge takes minutes", flush=True)
        print(f"first converge  {converge(_inventory(addresses, depot)):6.1f} s", flush=True)
        rows = []
        for count in counts:
            folder = _inventory({name: addresses[name] for name in names[:count]}, depot)
            module = one_module(folder.parent)
            seconds, alone = _middle(folder, "site.yml"), _middle(folder, module)
            rows.append({"hosts": count, "seconds": round(seconds, 2), "one_module": round(alone, 2)})
            ratio = f"{seconds / alone:.2f} × one module ({alone:.1f} s)"
            print(f"{count} hosts converged  {seconds:6.1f} s  {ratio}", flush=True)
    except (DepotError, PodmanError, RuntimeError) as error:
        print(f"canvas-fleet: {error}", file=sys.stderr)
        return 1
    growth = (rows[-1]["seconds"] - rows[0]["seconds"]) / max(1, rows[-1]["hosts"] - rows[0]["hosts"])
    print(f"{growth:.2f} s for each further host")
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "bench-converge.json").write_text(json.dumps(rows, indent=2) + "\n")
    hosts.down(BENCH)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
