"""Hosts of the embedded fleet: containers with real systemd and real OpenSSH, each with keys of its own.

    python -m demo.hosts up NAME... [--state DIR] [--prefix P] [--image host|depot] [--volume FROM:TO:ro]
    python -m demo.hosts down | list            [--state DIR] [--prefix P]
    python -m demo.hosts cut|mend|kill|start NAME [--state DIR] [--prefix P]

Everything that belongs to a group of hosts lies in its state folder: the client's key, the hosts' keys, known_hosts.
`up` may be repeated at any time, after an interrupt anywhere: it completes what is unfinished and leaves the rest
alone.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo import image
from demo.keys import keypair
from demo.podman import MARK, NETWORK, STATE, PodmanError, ensure_network, podman, query

USER = "deploy"
OWNER = "canvas-fleet.checkout"
READY_SECONDS = 60.0
FIRST_ADDRESS = 11  # .1 is the bridge, .2 to .10 are left to whoever looks in


@dataclass(frozen=True)
class Group:
    """Hosts that are made and removed together. `prefix` keeps the names of several groups of a checkout apart."""

    state: Path
    prefix: str

    def container(self, name: str) -> str:
        return f"canvas-{MARK}-{self.prefix}-{name}"

    @property
    def client_key(self) -> Path:
        return self.state / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.state / "known_hosts"

    def host_key(self, name: str) -> Path:
        return self.state / "host_keys" / name

    def ssh(self, address: str, *command: str) -> list[str]:
        options = [f'UserKnownHostsFile="{self.known_hosts}"', "StrictHostKeyChecking=yes", "BatchMode=yes"]
        options += ["ConnectTimeout=5", "IdentitiesOnly=yes"]
        words = [word for option in options for word in ("-o", option)]
        return ["ssh", "-F", "none", "-i", str(self.client_key), *words, f"{USER}@{address}", *command]


@dataclass(frozen=True)
class Wish:
    """The spec of a container. Its digest is a label: a container with another digest is replaced."""

    image: str
    address: str
    volumes: tuple[str, ...]
    keys: tuple[str, ...]
    inodes: tuple[int, ...]  # of the mounted folders: one that is made again is not the one mounted

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def up(group: Group, names: Sequence[str], kind: str = "host", volumes: Sequence[str] = ()) -> dict[str, str]:
    """Make or repair the hosts and wait until each answers over ssh; returns name → address."""
    picture = image.ensure(kind)
    group.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    group.state.chmod(0o700)
    keypair(group.client_key, "canvas-fleet demo")
    addresses = {}
    for name in names:
        keypair(group.host_key(name), name)
        with _locked():
            addresses[name] = _address(group, name)
            wish = Wish(picture, addresses[name], tuple(volumes), _key_texts(group, name), _inodes(volumes))
            _container(group, name, wish)
    _write_known_hosts(group)
    for name, address in addresses.items():
        _wait(group, name, address)
    return addresses


def down(group: Group) -> list[str]:
    """Removes the group's containers and its state folder; the network goes with the checkout's last container."""
    removed = sorted(known["container"] for known in listing(group).values())
    _remove(*removed)
    if group.state.exists():
        shutil.rmtree(group.state)
    if not _known():
        podman("network", "rm", NETWORK, check=False)
    return removed


def down_all() -> list[str]:
    """Removes every container of this checkout, its network, and the whole state folder."""
    removed = sorted(known["Names"][0] for known in _known())
    _remove(*removed)
    podman("network", "rm", NETWORK, check=False)
    shutil.rmtree(STATE, ignore_errors=True)
    return removed


def listing(group: Group) -> dict[str, dict[str, str]]:
    """name → address and state of the group's containers (running, exited, …)."""
    return {
        known["Labels"]["canvas-fleet.name"]: {
            "address": known["Labels"]["canvas-fleet.address"],
            "state": known["State"],
            "container": known["Names"][0],
        }
        for known in _known()
        if known["Labels"].get("canvas-fleet.group") == group.prefix
    }


def cut(group: Group, name: str) -> None:
    """Takes the host off the network; its processes go on."""
    podman("network", "disconnect", NETWORK, group.container(name))


def mend(group: Group, name: str) -> None:
    """Reconnects a host to the network, with its old address."""
    podman("network", "connect", "--ip", listing(group)[name]["address"], NETWORK, group.container(name))


def kill(group: Group, name: str) -> None:
    """Like a power cut."""
    podman("kill", group.container(name))


def start(group: Group, name: str) -> None:
    """Plugs a host in again, and waits until it answers."""
    podman("start", group.container(name))
    _wait(group, name, listing(group)[name]["address"])


@contextmanager
def _locked() -> Iterator[None]:
    """One at a time over all groups of the checkout: they share the network and its addresses."""
    with (STATE / "hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _known() -> list[dict[str, Any]]:
    return query("ps", "--all", "--filter", f"label={OWNER}={MARK}", "--format", "json") or []


def _remove(*containers: str) -> None:
    if containers:
        podman("rm", "--force", "--volumes", "--time", "0", *containers)


def _key_texts(group: Group, name: str) -> tuple[str, ...]:
    files = (group.client_key, group.host_key(name))
    return tuple(file.with_name(f"{file.name}.pub").read_text() for file in files)


def _inodes(volumes: Sequence[str]) -> tuple[int, ...]:
    return tuple(Path(volume.partition(":")[0]).stat().st_ino for volume in volumes)


def _address(group: Group, name: str) -> str:
    """The address the host has had (its container's label), else the next free one of the checkout's network.

    The next after the one given last, not the lowest: ssh keeps connections by address for a while (ControlPersist), so
    an address that was just given up would lead to a dead one.
    """
    subnet = ensure_network()
    taken = {known["Labels"]["canvas-fleet.address"]: known["Names"][0] for known in _known()}
    for address, owner in taken.items():
        if owner == group.container(name) and ipaddress.ip_address(address) in subnet:
            return address
    last = STATE / "last_address"
    place = int(last.read_text()) if last.exists() else 0
    room = subnet.num_addresses - 1 - FIRST_ADDRESS
    turns = (FIRST_ADDRESS + (place + step) % room for step in range(1, room + 1))
    free = next((index for index in turns if str(subnet[index]) not in taken), None)
    if free is None:
        raise PodmanError(f"all addresses of {subnet} are in use: python -m demo.hosts down-all")
    last.write_text(str(free - FIRST_ADDRESS))
    return str(subnet[free])


def _container(group: Group, name: str, wish: Wish) -> None:
    """The container of exactly this wish, running and on the network; one of another wish is replaced."""
    found = query("container", "inspect", group.container(name))
    if found and not _usable(found[0], wish):
        _remove(group.container(name))
        found = None
    if not found:
        _create(group, name, wish)
    elif NETWORK not in (found[0]["NetworkSettings"].get("Networks") or {}):
        podman("network", "connect", "--ip", wish.address, NETWORK, group.container(name))
    podman("start", group.container(name))


def _usable(found: dict[str, Any], wish: Wish) -> bool:
    """True when the container has the wanted spec and is whole: an unfilled one has no host key."""
    labels = found["Config"]["Labels"] or {}
    created_only = found["State"]["Status"] in ("created", "initialized", "configured")
    return labels.get("canvas-fleet.wish") == wish.digest and not created_only


def _create(group: Group, name: str, wish: Wish) -> None:
    container = group.container(name)
    labels = {OWNER: MARK, "canvas-fleet.group": group.prefix, "canvas-fleet.name": name}
    labels |= {"canvas-fleet.address": wish.address, "canvas-fleet.wish": wish.digest}
    options = ["--name", container, "--hostname", name, "--network", NETWORK, "--ip", wish.address]
    options += ["--systemd", "always", "--cap-add", "SYS_ADMIN,NET_ADMIN", "--cgroupns", "private"]
    # the journal in a volume, so that it outlives a restart
    options += ["--pids-limit", "8192", "--shm-size", "256m", "--volume", "/var/log/journal"]
    options += [word for volume in wish.volumes for word in ("--volume", volume)]
    options += [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    podman("create", *options, wish.image)
    key = group.host_key(name)
    podman("cp", str(key), f"{container}:/etc/ssh/ssh_host_ed25519_key")
    podman("cp", f"{key}.pub", f"{container}:/etc/ssh/ssh_host_ed25519_key.pub")
    podman("cp", f"{group.client_key}.pub", f"{container}:/etc/ssh/authorized_keys_deploy")


def _write_known_hosts(group: Group) -> None:
    """Every host of the group, by address, from the keys that were made (not from what answers)."""
    lines = []
    for name, host in sorted(listing(group).items()):
        kind, key = Path(f"{group.host_key(name)}.pub").read_text().split()[:2]
        lines.append(f"{host['address']} {kind} {key}\n")
    fresh = group.known_hosts.with_name("known_hosts.new")
    fresh.write_text("".join(lines))
    fresh.rename(group.known_hosts)


def _wait(group: Group, name: str, address: str) -> None:
    """Until systemd says over ssh that the host is up. Raises PodmanError with ssh's last words after a minute."""
    until = time.monotonic() + READY_SECONDS
    last = ""
    while time.monotonic() < until:
        command = group.ssh(address, "systemctl is-system-running --wait")
        done = subprocess.run(command, text=True, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if done.stdout.strip() in ("running", "degraded"):
            return
        last = done.stderr.strip() or done.stdout.strip()
        time.sleep(0.2)
    raise PodmanError(f"{name} ({address}) does not answer after {READY_SECONDS:.0f} s: {last}")


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.hosts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=["up", "down", "down-all", "cut", "mend", "kill", "start", "list"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--state", type=Path, default=STATE / "hosts")
    parser.add_argument("--prefix", default="demo")
    parser.add_argument("--image", choices=["host", "depot"], default="host")
    parser.add_argument("--volume", action="append", default=[])
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    asked = _arguments(words)
    group = Group(Path(os.path.abspath(asked.state)), asked.prefix)
    try:
        if asked.verb == "up":
            print(json.dumps(up(group, asked.names, asked.image, asked.volume)))
        elif asked.verb in ("down", "down-all"):
            removed = down(group) if asked.verb == "down" else down_all()
            print(json.dumps({"removed": removed}))
        elif asked.verb == "list":
            print(json.dumps(listing(group), indent=2))
        else:
            for name in asked.names:
                {"cut": cut, "mend": mend, "kill": kill, "start": start}[asked.verb](group, name)
    except PodmanError as error:
        print(f"canvas-fleet: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
