"""Ways to reach root, odd temporary folders, and disks that are full at each write: each converged once on a host.

A way has folders of its own. One converge has to bring all of it, and the next one to change nothing. A full disk grows
step by step: each converge fails at a later write, with words that name the cause; the last one succeeds.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from demo import bench, fleet, hosts
from demo.podman import CHECKOUT, STATE, podman

GROUP = hosts.Group(STATE / "chaos-places", "chaosplaces")
HOST = "places"
PASSWORD = "right-4711"  # noqa: S105 - of accounts that exist on the host of this test alone
UNPIPED = {"ansible_pipelining": False}
ASKED = "echo 'deploy ALL=(ALL) ALL' > /etc/sudoers.d/deploy; echo deploy:{0} | chpasswd; echo root:{0} | chpasswd"
FREE = "echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy"


@dataclass(frozen=True)
class Way:
    """How modules reach a host and become root there."""

    name: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    before: str = ""
    after: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


WAYS = (
    Way("temporary files on a noexec disk, no pipelining", {**UNPIPED, "ansible_remote_tmp": "/mnt/noexec"},
        "mkdir -p /mnt/noexec; mount -t tmpfs -o noexec,mode=1777 tmpfs /mnt/noexec"),
    Way("temporary files are kept", UNPIPED, environment={"ANSIBLE_KEEP_REMOTE_FILES": "1"}),
    Way("no setfacl", UNPIPED, "rm -f /usr/bin/setfacl"),
    Way("sudo with a password", {"ansible_become_password": PASSWORD}, ASKED.format(PASSWORD), FREE),
    Way("su", {"ansible_become_method": "su", "ansible_become_password": PASSWORD}, ASKED.format(PASSWORD), FREE),
    # doas takes what sudo's plugin gives it; a plugin of its own is in community.general, which we do not need.
    Way("doas", {"ansible_become_exe": "doas", "ansible_become_flags": "-n"},
        "apt-get -q update; apt-get -q -y install opendoas; echo 'permit nopass deploy' > /etc/doas.conf"),
    Way("umask 077", UNPIPED, "echo 'Defaults umask=0077, umask_override' > /etc/sudoers.d/umask; "
        "echo umask 077 >> /etc/profile; echo umask 077 >> /home/deploy/.bashrc", "rm /etc/sudoers.d/umask"),
)  # fmt: skip
# What a disk is given, step by step: bytes, or inodes.
STEPS = {
    "no space": ("size", ("64k", "1m", "4m", "16m", "48m", "64m", "96m", "2g")),
    "no inodes": ("nr_inodes", ("2", "12", "40", "150", "400", "1500", "4000", "1000000")),
}
# A way is the same for all roles; the environment takes longest.
MOST = ("--tags", "fleet_agent,canvas_code,dataset,weights,run_config")
CAUSE = ("No space left", "no space", "disk is full", "disk full", "DISK_SHORT", "enospc")


def run(points: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    depot = fleet.ensure_depot()
    address = hosts.up(GROUP, [HOST])[HOST]
    folder = bench.inventory(GROUP, GROUP.state / "inventory", {HOST: address}, depot)
    rows = []
    for row in chain(_ways(folder), _full(folder) if points > len(WAYS) else ()):
        rows.append(row)
        say(f"{'held' if row['held'] else 'NOT HELD'}  {row['place']}: {row['outcome']}")
    return rows


def summary(rows: list[dict[str, Any]]) -> str:
    return f"places: {sum(row['held'] for row in rows)} of {len(rows)} held"


def _ways(folder: Path) -> Iterator[dict[str, Any]]:
    for number, way in enumerate(WAYS):
        _on_host(way.before or "true")
        own = {"fleet_root": f"/srv/way{number}", "fleet_state_dir": f"/var/lib/way{number}"}
        own |= dict.fromkeys(("training_run", "fleet_user", "fleet_group"), f"way{number}") | dict(way.variables)
        begin = time.monotonic()
        results = [converge(GROUP, folder, own, way.environment, *MOST) for _ in range(2)]
        _on_host(way.after or "true")
        held = [code for code, _ in results] == [0, 0] and "changed=0" in results[1][1]
        words = "converged, then changed=0" if held else results[0][1][-1500:] + results[1][1][-500:]
        yield {"place": way.name, "outcome": words, "seconds": round(time.monotonic() - begin), "held": held}


def _full(folder: Path) -> Iterator[dict[str, Any]]:
    for number, (name, (option, sizes)) in enumerate(STEPS.items()):
        for place in ("root", "state"):
            at = f"/mnt/{place}{number}"
            mode = "777" if place == "root" else "755"  # the account, which is not made yet, writes below fleet_root
            _on_host(f"mkdir -p {at}; mount -t tmpfs -o mode={mode},{option}={sizes[0]} tmpfs {at}")
            other = {"root": f"/srv/full{number}{place}", "state": f"/var/lib/full{number}{place}"}
            own = {
                "fleet_root": other["root"],
                "fleet_state_dir": other["state"],
                "training_run": f"full{number}{place}",
            }
            own["fleet_root" if place == "root" else "fleet_state_dir"] = at
            own |= {"fleet_user": f"full{number}{place}", "fleet_group": f"full{number}{place}"}
            own["preflight_accepted_findings"] = ["UPSTREAM_UNKNOWN", "DISK_SHORT", "FOLDER_NOT_OURS"]
            told = []
            for size in sizes:
                _on_host(f"mount -o remount,{option}={size} {at}")
                code, text = converge(GROUP, folder, own, {})
                if code == 0:
                    break
                told.append((size, task(text), any(word in text for word in CAUSE)))
            again = converge(GROUP, folder, own, {}) if code == 0 else (1, text)
            held = again[0] == 0 and "changed=0" in again[1] and all(named for _, _, named in told)
            words = "; ".join(f"{size} in '{task}'{'' if named else ' WITHOUT CAUSE'}" for size, task, named in told)
            if again[0]:
                words += "\n" + again[1][-1500:]
            yield {"place": f"{name} below {at}", "outcome": f"full at {words}; then converged", "held": held}


def task(text: str) -> str:
    """The last task before the failure."""
    names = [line.partition("[")[2].partition("]")[0] for line in text.splitlines() if line.startswith("TASK [")]
    return names[-1] if names else "none"


def converge(
    group: hosts.Group, folder: Path, variables: Mapping[str, Any], environment: Mapping[str, str], *words: str
) -> tuple[int, str]:
    path = folder / "host_vars" / f"{HOST}.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(dict(variables)))
    done = subprocess.run(
        ["ansible-playbook", "-i", str(folder), "site.yml", *words],
        capture_output=True, text=True, check=False, cwd=CHECKOUT,
        env={**os.environ, "ANSIBLE_SSH_ARGS": "-o ControlMaster=no", **environment}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    (group.state / "last.log").write_text(done.stdout + done.stderr)
    return done.returncode, done.stdout + done.stderr


def _on_host(script: str) -> str:
    done = podman("exec", GROUP.container(HOST), "sh", "-c", script, check=False)
    return done.stdout + done.stderr
