"""The role nvidia: GPUs, driver and CUDA toolkit of a host.

A driver that works and is new enough is left alone, whoever installed it; so is a host with nvidia_gpu_expected: false.
"""

from __future__ import annotations

import glob
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

from ...core.settings import Settings
from ...core.wire import from_record
from ...machine.facts import os_release
from . import distributions as table
from . import packages, smi
from .packages import Package, read

PROFILE = "/etc/profile.d/canvas-fleet-cuda.sh"
RECORD = "nvidia.json"  # in fleet_state_dir: what we installed and hold
VENDOR, MELLANOX = "0x10de", "0x15b3"
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
MODULE_PLACES = ("updates/dkms", "extra", "extra/*", "weak-updates/*", "kernel/drivers/video", "kernel/nvidia-*")
MODULE_NAMES = ("nvidia.ko*", "nvidia-current.ko*")  # the second is Debian's own


@dataclass(frozen=True)
class Restart:
    """One that the role asked for: in which boot, and what it was to mend."""

    boot: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Record:
    """The role's record: installed and held packages, and a pending restart."""

    packages: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # packages that came with them
    locks: tuple[str, ...] = ()  # of dnf
    restart: Restart | None = None


@dataclass(frozen=True)
class Observation(smi.Seen):
    """Observation of nvidia-smi, PCI bus and installed packages."""

    devices: tuple[int, ...] = ()  # device numbers of the GPUs on the bus
    nvswitches: int = 0
    nvlink5: int = 0  # NVSwitches that are no PCI devices
    loaded: str = ""  # the running module, in its own words
    module_installed: bool = False
    nouveau: bool = False
    secure_boot: bool = False
    toolkit: bool = False
    toolkits: tuple[str, ...] = ()
    profile: str = ""
    kernel: str = ""
    boot: str = ""
    machine: str = ""
    release: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, Package] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)  # unit to systemd's word
    upgrader: bool = False
    record: Record = field(default_factory=Record)
    keyring: tuple[str, ...] = ()  # fingerprints
    foreign_source: str = ""  # the file that names our repository, and is not ours
    own_source: str = ""


def observe(settings: Settings, root: str = "/") -> Observation:
    """`root` is / but for tests."""
    kernel = platform.release()
    devices, switches5 = pci_devices(root)
    home = str(settings["nvidia_cuda_home"])
    modules = [os.path.join(root, "lib/modules", kernel, *both) for both in product(MODULE_PLACES, MODULE_NAMES)]
    release = {
        key: value for key, value in os_release(read(root, "etc/os-release")).items() if key in ("ID", "VERSION_ID")
    }
    of = table.system(release)
    return Observation(
        **vars(smi.observe_gpus()),
        devices=tuple(device for device, kind in devices if kind.startswith("0x03")),
        nvswitches=sum(kind.startswith("0x0680") for _unused, kind in devices),
        nvlink5=switches5,
        loaded=read(root, "proc/driver/nvidia/version").split("\n")[0],
        module_installed=any(glob.glob(module) for module in modules),
        nouveau=any(line.startswith("nouveau ") for line in read(root, "proc/modules").splitlines()),
        secure_boot=read(root, SECURE_BOOT)[-1:] == "\x01",
        toolkit=os.access(os.path.join(root, home.lstrip("/"), "bin/nvcc"), os.X_OK),
        toolkits=tuple(
            sorted(os.path.basename(path) for path in glob.glob(os.path.join(root, "usr/local/cuda-[0-9]*")))
        ),
        profile=read(root, PROFILE),
        kernel=kernel,
        boot=read(root, "proc/sys/kernel/random/boot_id").strip(),
        machine=platform.machine(),
        release=release,
        packages=packages.installed(root) if devices else {},
        services=packages.services() if devices else {},
        upgrader=os.path.exists(os.path.join(root, packages.UPGRADER)),
        record=record(root, settings["fleet_state_dir"]),
        keyring=tuple(packages.key_fingerprints(root, of.family)) if of else (),
        foreign_source=packages.foreign_source(root, base_url(of, settings)) if of and devices else "",
        own_source=packages.own_source(root, of.family) if of else "",
    )


def record(root: str, state_dir: str) -> Record:
    """The record; an empty one if it is missing or unreadable."""
    try:
        kept = json.loads(read(root, os.path.join(state_dir, RECORD)))
    except ValueError:
        return Record()
    return from_record(Record, kept) or Record()


def base_url(system: table.System, settings: Settings) -> str:
    return f"{str(settings['nvidia_repository_url']).rstrip('/')}/{system.name}/x86_64/"


def pci_devices(root: str) -> tuple[list[tuple[int, str]], int]:
    """(device number, class) of each PCI device of NVIDIA's, without lspci; and how many NVSwitches of NVLink 5.

    Those are no PCI devices: they are reached through functions of a ConnectX-7 that name themselves SW_MNG in their
    vital product data, and are like any other network card's in all else.
    """
    found, switches = [], 0
    for folder in sorted(glob.glob(os.path.join(root, "sys/bus/pci/devices/*"))):
        vendor, device, kind = (read(folder, name).strip() for name in ("vendor", "device", "class"))
        if vendor == VENDOR:
            found.append((int(device, 16), kind))
        elif vendor == MELLANOX and kind.startswith("0x0207"):
            switches += "SW_MNG" in read(folder, "vpd")
    return found, switches
