"""Facts of a host for all later steps, read in one call. Standard library only; changes nothing."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..checkpoints.models import models_of
from ..checkpoints.seal import Place, kept_dir_of
from ..core.settings import Settings, named
from ..system import files, folders, limits, places, programs, units
from ..system.places import Spot

# The folders whose disks matter, and what is said about them when space is short.
FOLDER_SETTINGS = (
    "fleet_root",
    "fleet_state_dir",
    "conda_env_root",
    "weights_dir",
    "dataset_train_dir",
    "training_results_dir",
    "training_checkpoint_dir",
)


@dataclass(frozen=True)
class FileSystem:
    """The one under a folder that may not exist yet. Bytes."""

    at: str  # the folder, or its nearest parent that exists
    device: int
    free: int
    total: int


@dataclass(frozen=True)
class Init:
    """PID 1 and systemd's version; "systemd" only where it really runs the machine."""

    name: str = "unknown"
    version: str = ""


@dataclass(frozen=True)
class Facts:
    """Facts of a host. Sizes in bytes; `time` is its own clock, in seconds since the epoch."""

    python: str
    memory_bytes: int
    init: Init = field(default_factory=Init)
    disks: Mapping[str, FileSystem] = field(default_factory=dict)  # by the setting that names the folder
    checkpoints_bytes: int = 0
    models_bytes: int = 0  # merged from adapters
    time: float = 0
    hostname: str = ""
    kernel: str = ""
    architecture: str = ""
    libc: str = ""  # version of glibc; "" for another one
    identity: str = ""  # of this host in its present boot; no other host can guess it
    spots: Mapping[str, Spot] = field(default_factory=dict)  # by the setting that names the path


def os_release(text: str) -> dict[str, str]:
    """Fields of /etc/os-release, unquoted."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def meminfo(text: str) -> dict[str, int]:
    """Fields of /proc/meminfo in bytes."""
    found = {}
    for line in text.splitlines():
        name, _mark, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def _read(path: str) -> str:
    return files.text(path)


def existing_parent(path: str) -> str:
    """The path itself, or its nearest parent that exists: where a folder yet to be made would lie.

    A link whose target is not there (a disk that is not mounted) does not exist.
    """
    path = os.path.abspath(path)
    while not os.path.exists(path) and path != "/":
        path = os.path.dirname(path)
    return path


def disk(path: str) -> FileSystem:
    at = existing_parent(path)
    usage = os.statvfs(at)
    free, total = usage.f_bavail * usage.f_frsize, usage.f_blocks * usage.f_frsize
    return FileSystem(at, os.stat(at).st_dev, free, total)


def tree_bytes(*paths: str, without: str = "") -> int:
    """Bytes of the files below folders that need not exist, but for those below `without`; a file of several names
    (a kept checkpoint has two) counts once."""
    sizes, left = {}, limits.TREE_NAMES
    for folder, below, names in (step for path in paths for step in folders.walk(path)):
        below[:] = [name for name in below if os.path.join(folder, name) != without]
        left -= len(names) + len(below)
        if left < 0:
            raise limits.too_many(folder, limits.TREE_NAMES)
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
            except OSError:
                continue  # a checkpoint that is rotated away while we look
            sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


def checkpoints_bytes(settings: Settings) -> int:
    """Sizes of checkpoints and kept folder, without the quarantine."""
    folder = str(settings.get("training_checkpoint_dir") or "")
    results, kept = (str(settings.get(f"training_{name}_dir") or "") for name in ("results", "kept"))
    place = Place(folder, kept_dir_of(results or folder, folder, kept))
    return tree_bytes(place.checkpoints, place.kept, without=place.quarantine) if folder else 0


def models_bytes(settings: Settings) -> int:
    results = str(settings.get("training_results_dir") or "")
    return tree_bytes(models_of(results)) if results else 0


def libc() -> str:
    """glibc 2.36 → 2.36; "" for another library."""
    try:
        name, _mark, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return ""
    return version if name == "glibc" else ""


def init_system() -> Init:
    name = _read("/proc/1/comm").strip()
    running = os.path.isdir("/run/systemd/system")
    version = ""
    systemctl = programs.find("systemctl", units.PATH)
    if running and systemctl:
        words = programs.run(systemctl, "--version").out.split()
        version = words[1] if len(words) > 1 else ""
    return Init("systemd" if running and systemctl else name or "unknown", version)


def identity() -> str:
    """Hosts of one image may share /etc/machine-id, containers of one machine its boot id."""
    parts = [_read(path).strip() for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id")]
    return ":".join([*parts, socket.gethostname()]) if all(parts) else ""


def observe(settings: Settings) -> Facts:
    return Facts(
        hostname=socket.gethostname(),
        kernel=platform.release(),
        architecture=platform.machine(),
        libc=libc(),
        python=".".join(str(part) for part in sys.version_info[:3]),
        init=init_system(),
        memory_bytes=meminfo(_read("/proc/meminfo")).get("MemTotal", 0),
        identity=identity(),
        disks={name: disk(str(named(settings, name))) for name in FOLDER_SETTINGS if settings.get(name)},
        checkpoints_bytes=checkpoints_bytes(settings),
        models_bytes=models_bytes(settings),
        time=time.time(),
        spots=places.observe(settings),
    )
