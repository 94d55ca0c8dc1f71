"""The environment of a training besides memory and disks: shared memory, ports, compiler, mounts, master.

Asks the kernel for a handful of folders: a few milliseconds. Questions before a start (ports, master) can take longer.
Standard library only.
"""

from __future__ import annotations

import errno
import glob
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.settings import Settings, named
from ..system import files, programs
from .facts import existing_parent

LISTENING = "0A"  # the state in /proc/net/tcp
COMPILERS = ("cc", "gcc", "clang")
CONNECT_TIMEOUT = 1.0  # s that a connection to the master may take
MOUNTED = ("training_results_dir", "conda_env_root", "weights_dir", "dataset_train_dir", "fleet_state_dir")


@dataclass(frozen=True)
class Space:
    """Bytes."""

    free: int
    total: int


@dataclass(frozen=True)
class Mount:
    """Options of the file system under a folder."""

    noexec: bool = False
    read_only: bool = False


@dataclass(frozen=True)
class Environment:
    """The environment of a training. `listening` and `master` are read only before a start."""

    shm: Space | None = None
    compiler: str = ""  # its path
    headers: bool | None = None  # Python's; None while the environment does not exist
    mounts: Mapping[str, Mount] = field(default_factory=dict)  # by the setting that names the folder
    listening: tuple[int, ...] = ()  # ports, on the first host of a run
    master: str = ""  # why it cannot be reached, on the others


def observe(settings: Settings, root: str = "/") -> Environment:
    """`root` is / but for tests."""
    prefix = str(settings.get("conda_env_prefix") or "")
    return Environment(
        shm=space(os.path.join(root, "dev/shm")),
        compiler=compiler(prefix, root),
        headers=headers(prefix),
        mounts={name: mount(str(named(settings, name))) for name in MOUNTED if settings.get(name)},
    )


def before_start(master: Mapping[str, Any]) -> dict[str, Any]:
    """Read only before a start: the ports on the first host of a run, the connection to it on the others."""
    if not master:
        return {"listening": listening()}
    return {"master": reach(str(master["address"]), int(master["port"]))}


def space(path: str) -> Space | None:
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def listening(root: str = "/") -> list[int]:
    """Ports that something listens on, at whatever address."""
    ports = set()
    for name in ("tcp", "tcp6"):
        rows = [line.split() for line in files.text(os.path.join(root, "proc/net", name)).splitlines()]
        ports |= {int(row[1].rpartition(":")[2], 16) for row in rows[1:] if len(row) > 3 and row[3] == LISTENING}
    return sorted(ports)


def compiler(prefix: str, root: str = "/") -> str:
    """The C compiler that the script would find: in the environment, else the system's; "" when there is none."""
    system = os.pathsep.join(os.path.join(root, folder.lstrip("/")) for folder in programs.SYSTEM_PATH.split(":"))
    places = f"{prefix}/bin{os.pathsep}{system}" if prefix else system
    return next((found for name in COMPILERS if (found := programs.find(name, places))), "")


def headers(prefix: str) -> bool | None:
    """True when the environment's Python has its headers; a virtual environment uses those of its base."""
    if not prefix or not os.path.isdir(prefix):
        return None
    return any(glob.glob(os.path.join(glob.escape(place), "include/python3*/Python.h")) for place in _homes(prefix))


def _homes(prefix: str) -> list[str]:
    """The prefix, and for a virtual environment that of its base: pyvenv.cfg's `home` is the base's bin folder."""
    words = [line.partition("=") for line in files.text(os.path.join(prefix, "pyvenv.cfg")).splitlines()]
    return [prefix, *(os.path.dirname(value.strip()) for name, _unused, value in words if name.strip() == "home")]


def mount(path: str) -> Mount:
    """Space of a folder that may not exist yet."""
    try:
        flags = os.statvfs(existing_parent(path)).f_flag
    except OSError:
        return Mount()
    return Mount(noexec=bool(flags & os.ST_NOEXEC), read_only=bool(flags & os.ST_RDONLY))


def reach(address: str, port: int, retry: float = CONNECT_TIMEOUT) -> str:
    """Why a connection to the master cannot be had; "" when it can. A refusal is an answer: the host is there."""
    try:
        with socket.create_connection((address, port), timeout=retry):
            return ""
    except ConnectionRefusedError:
        return ""
    except socket.timeout:
        return f"no answer within {retry:g} s"
    except socket.gaierror as error:
        return f"the name cannot be resolved ({error.strerror})"
    except OSError as error:
        return "" if error.errno == errno.ECONNRESET else str(error.strerror or error)
