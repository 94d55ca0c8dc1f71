# SPDX-License-Identifier: Apache-2.0
"""The identity of this controller, and whether another one on this machine has ended."""

from __future__ import annotations

import getpass
import multiprocessing
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

from ..module_utils.core import shown
from ..module_utils.system import files
from ..module_utils.system.digests import sha256


def identity() -> dict[str, str]:
    """Identity of the ansible-playbook of this process; Ansible forks a process for each task of a host."""
    parent = multiprocessing.parent_process()
    return dict(_of(parent.pid if parent and parent.pid else os.getpid()))


@cache
def _of(pid: int) -> Mapping[str, str]:
    machine = [files.text("/etc/machine-id").strip(), socket.gethostname(), *_cards()]
    space = boot = ""
    with suppress(OSError):  # no Linux
        boot = files.kernel("/proc/sys/kernel/random/boot_id").decode().strip()
        space = os.readlink("/proc/self/ns/pid")
    me = {
        "place": sha256("\0".join(machine))[:16],
        "boot": boot,
        "space": space,
        "pid": str(pid),
        "started": started(str(pid)),
    }
    # The boot names the machine as well, and stays when its cards or its name change.
    own = [boot or me["place"], space, me["pid"], me["started"]]
    return {**me, "id": sha256("\0".join(own))[:16], "who": shown.line(f"{_user()}@{machine[1]}")}


def _cards(folder: str = "/sys/class/net") -> list[str]:
    """Addresses of the machine's network cards, by which it differs from another one of the same image.

    Virtual ones come and go with containers, so they count only where there are no others: inside of one.
    """
    names = sorted(_listed(folder))
    real = [name for name in names if os.path.exists(f"{folder}/{name}/device")]
    return [files.text(f"{folder}/{name}/address").strip() for name in real or names]


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def started(pid: str) -> str:
    """Start of the process in kernel ticks; "" for an ended one, a zombie included.

    A pid alone may belong to another process by now.
    """
    fields = (files.text(f"/proc/{pid}/stat") if pid.isdigit() else "").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


def is_gone(holder: Mapping[str, str]) -> bool:
    """True for a controller on this machine that ran before the last boot or has ended; unknown on other machines."""
    me, boot = identity(), holder.get("boot")
    if boot != me["boot"]:
        return bool(boot and holder.get("place")) and holder["place"] == me["place"]
    return (
        bool(boot) and holder.get("space") == me["space"] and started(str(holder.get("pid"))) != holder.get("started")
    )
