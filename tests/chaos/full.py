"""Disks that are full, in bytes or in inodes, at each of our own writes: each tried on a host once.

A converge fails at the first write that was not tried yet, with words that name the cause; the next one goes on from
there, on a disk with room, up to the next such write. The last one brings all of it, and one more changes nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from demo import bench, fleet, hosts
from demo.podman import STATE, podman
from tests.chaos import fill
from tests.chaos.places import CAUSE, HOST, converge, task

KINDS = {"no space": "size=900m", "no inodes": "size=900m,nr_inodes=30000"}
GROUP = hosts.Group(STATE / "chaos-full", "chaosfull")
Row = dict[str, Any]


class Disks:
    """Three disks of their own: what the account has, what root has, and where units lie."""

    def __init__(self, kind: str) -> None:
        mark = kind.replace(" ", "")
        self.root, self.state, self.units = f"/mnt/{mark}-root", f"/mnt/{mark}-state", "/etc/systemd/system"
        self.all = [self.root, self.state, self.units]
        self.run(
            f"rm -rf {fill.FOLDER}; mkdir -p {fill.FOLDER}/full; chmod 777 {fill.FOLDER}/full; "
            f"touch {fill.FOLDER}/tried; chmod 666 {fill.FOLDER}/tried; cp -a {self.units} {fill.FOLDER}/units"
        )
        for disk in self.all:
            self.run(f"mkdir -p {disk}; mount -t tmpfs -o mode=755,{KINDS[kind]} tmpfs {disk}")
        self.run(f"cp -a {fill.FOLDER}/units/. {self.units}/")
        podman("cp", str(Path(fill.__file__)), f"{GROUP.container(HOST)}:{fill.FOLDER}/fill.py")
        order = json.dumps({"kind": kind, "disks": self.all})
        library = self.run("python3 -c 'import os; print(os.path.dirname(os.__file__))'").strip()
        self.run(
            f"echo '{order}' > {fill.FOLDER}/order.json; "
            f"cp --remove-destination {fill.FOLDER}/fill.py {library}/sitecustomize.py"
        )
        self.empty()

    def empty(self) -> str:
        """Room again; returns the write at which there was none."""
        at = self.run(f"cat {fill.FOLDER}/full/now; rm -f {fill.FOLDER}/full/now").strip()
        for disk in self.all:
            self.run(f"rm -rf {disk}/{fill.FILLER}; mkdir {disk}/{fill.FILLER}; chmod 777 {disk}/{fill.FILLER}")
        return "" if "No such file" in at else at

    def left(self) -> str:
        """Parts of files that nobody completes."""
        return self.run(f"find {' '.join(self.all)} -name '.*.canvas-fleet'").strip()

    def away(self) -> None:
        self.run(f"rm {fill.FOLDER}/order.json; umount -l {' '.join(self.all)}; systemctl daemon-reload")

    def run(self, script: str) -> str:
        done = podman("exec", GROUP.container(HOST), "sh", "-c", script, check=False)
        return done.stdout + done.stderr


def run(points: int, say: Callable[[str], None]) -> list[Row]:
    """`points`: converges of one kind, at most."""
    depot = fleet.ensure_depot()
    hosts.down(GROUP)
    address = hosts.up(GROUP, [HOST])[HOST]
    folder = bench.inventory(GROUP, GROUP.state / "inventory", {HOST: address}, depot)
    rows = []
    for kind in KINDS:
        for row in _walk(folder, Disks(kind), kind, points):
            rows.append(row)
            say(f"{'held' if row['held'] else 'NOT HELD'}  {row['place']}: {row['outcome']}")
    hosts.down(GROUP)
    return rows


def summary(rows: list[Row]) -> str:
    return f"full: {sum(row['held'] for row in rows)} of {len(rows)} held"


def _walk(folder: Path, disks: Disks, kind: str, most: int) -> Iterator[Row]:
    begin, mark = time.monotonic(), kind.replace(" ", "")
    own = {
        "fleet_root": f"{disks.root}/fleet", "fleet_state_dir": f"{disks.state}/canvas",
        **dict.fromkeys(("training_run", "fleet_user", "fleet_group"), mark),
        "preflight_accepted_findings": ["UPSTREAM_UNKNOWN", "DISK_SHORT", "FOLDER_NOT_OURS"],
    }  # fmt: skip
    tried, code, text = 0, 1, ""
    for _ in range(most):
        code, text = converge(GROUP, folder, own, {})
        if not (at := disks.empty()):
            break
        tried += 1
        named = code == 0 or any(word in text for word in CAUSE)
        outcome = "went on" if code == 0 else f"fails in '{task(text)}'"
        if not named:
            outcome += f" WITHOUT CAUSE\n{text[-1500:]}"
        yield {"place": f"{kind} at {at}", "outcome": outcome, "held": named}
    again = converge(GROUP, folder, own, {}) if code == 0 else (1, text)
    left = disks.left()
    held = again[0] == 0 and "changed=0" in again[1] and not left
    words = f"{tried} writes, then converged, then changed=0" if held else f"{again[1][-1500:]}{left}"
    yield {"place": kind, "outcome": words, "held": held, "seconds": round(time.monotonic() - begin)}
    disks.away()
