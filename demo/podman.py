"""podman with settings of our own, and the one network that all hosts of a checkout share."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
STATE = CHECKOUT / ".demo"
# Several checkouts live side by side on one machine: all names carry the place of theirs.
MARK = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]
NETWORK = f"canvas-{MARK}"
POOL = ipaddress.IPv4Network("10.201.0.0/16")

CONTAINERS_CONF = """\
# Written by canvas-fleet's demo; used through CONTAINERS_CONF for our own containers alone.
[containers]
base_hosts_file = "none"
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
LIMITS = {resource.RLIMIT_NOFILE: 1 << 20, resource.RLIMIT_NPROC: 1 << 15}


class PodmanError(RuntimeError):
    """podman refused; the text is its own last words."""


def podman(*words: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Runs podman. Raises PodmanError when it fails, unless `check` is false."""
    done = subprocess.run(
        ["podman", *words], env=_environment(), text=True, capture_output=True, check=False, timeout=timeout
    )
    if check and done.returncode:
        raise PodmanError(f"podman {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def query(*words: str) -> Any:
    """podman's JSON output, or None when it fails (no such container)."""
    done = podman(*words, check=False)
    return json.loads(done.stdout or "null") if done.returncode == 0 else None


def _environment() -> dict[str, str]:
    STATE.mkdir(mode=0o700, exist_ok=True)
    conf = STATE / "containers.conf"
    wanted = CONTAINERS_CONF.format(files=_limit(resource.RLIMIT_NOFILE), processes=_limit(resource.RLIMIT_NPROC))
    if not conf.exists() or conf.read_text() != wanted:
        conf.write_text(wanted)
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return {**os.environ, "CONTAINERS_CONF": str(conf), "PATH": f"{path}:/usr/sbin:/sbin"}


def _limit(kind: int) -> int:
    """The limit for a container; podman's default may exceed this machine's and would be refused."""
    hard = resource.getrlimit(kind)[1]
    return LIMITS[kind] if hard == resource.RLIM_INFINITY else min(hard, LIMITS[kind])


def free_subnet(taken: Iterable[str]) -> ipaddress.IPv4Network:
    """The first /24 of our pool that overlaps with none of `taken` (networks as text; others are ignored)."""
    used = [ipaddress.ip_network(text, strict=False) for text in taken if "." in text]
    for subnet in POOL.subnets(new_prefix=24):
        if not any(subnet.overlaps(other) for other in used if isinstance(other, ipaddress.IPv4Network)):
            return subnet
    raise PodmanError(f"no free /24 left in {POOL}: remove podman networks that nobody uses (podman network prune)")


def ensure_network() -> ipaddress.IPv4Network:
    """The checkout's network, made when it is not there."""
    found = query("network", "inspect", NETWORK)
    if not found:
        subnet = free_subnet([*_podman_subnets(), *_routes()])
        podman("network", "create", "--subnet", str(subnet), "--label", f"canvas-fleet={CHECKOUT}", NETWORK)
        return subnet
    return ipaddress.IPv4Network(found[0]["subnets"][0]["subnet"])


def _podman_subnets() -> list[str]:
    names = podman("network", "ls", "--quiet").stdout.split()
    networks = query("network", "inspect", *names) or []
    return [subnet["subnet"] for network in networks for subnet in network.get("subnets") or []]


def _routes() -> list[str]:
    lines = subprocess.run(["ip", "-4", "route"], text=True, capture_output=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in lines if "/" in line.split()[0]]
