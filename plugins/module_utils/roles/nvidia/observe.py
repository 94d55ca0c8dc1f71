"""The role nvidia: GPUs, driver and CUDA toolkit of a host.

A driver that works and is new enough is left alone, whoever installed it; so is a host that has no GPU by its user's
own word.
"""

from __future__ import annotations

import glob
import json
import os
import platform
from collections.abc import Mapping
from itertools import product
from typing import Any

from ...machine.facts import os_release
from . import packages, smi, table
from .packages import read

PROFILE = "/etc/profile.d/canvas-fleet-cuda.sh"
RECORD = "nvidia.json"  # in fleet_state_dir: what we installed and hold
VENDOR, MELLANOX = "0x10de", "0x15b3"
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
MODULE_PLACES = ("updates/dkms", "extra", "extra/*", "weak-updates/*", "kernel/drivers/video", "kernel/nvidia-*")
MODULE_NAMES = ("nvidia.ko*", "nvidia-current.ko*")  # the second is Debian's own


def observe(settings: Mapping[str, Any], root: str = "/") -> dict[str, Any]:
    """What nvidia-smi says, what sits on the PCI bus, and what is installed. `root` is / but for tests."""
    kernel = platform.release()
    devices, switches5 = pci_devices(root)
    home = str(settings["nvidia_cuda_home"])
    modules = [os.path.join(root, "lib/modules", kernel, *both) for both in product(MODULE_PLACES, MODULE_NAMES)]
    release = {
        key: value for key, value in os_release(read(root, "etc/os-release")).items() if key in ("ID", "VERSION_ID")
    }
    of = table.system(release)
    return {
        **smi.observe_gpus(),
        "devices": [device for device, kind in devices if kind.startswith("0x03")],
        "nvswitches": sum(kind.startswith("0x0680") for _, kind in devices),
        "nvlink5": switches5,
        "loaded": read(root, "proc/driver/nvidia/version").split("\n")[0],
        "module_installed": any(glob.glob(module) for module in modules),
        "nouveau": any(line.startswith("nouveau ") for line in read(root, "proc/modules").splitlines()),
        "secure_boot": read(root, SECURE_BOOT)[-1:] == "\x01",
        "toolkit": os.access(os.path.join(root, home.lstrip("/"), "bin/nvcc"), os.X_OK),
        "toolkits": sorted(os.path.basename(path) for path in glob.glob(os.path.join(root, "usr/local/cuda-[0-9]*"))),
        "profile": read(root, PROFILE),
        "kernel": kernel,
        "boot": read(root, "proc/sys/kernel/random/boot_id").strip(),
        "machine": platform.machine(),
        "release": release,
        "packages": packages.installed(root) if devices else {},
        "services": packages.services() if devices else {},
        "upgrader": os.path.exists(os.path.join(root, packages.UPGRADER)),
        "record": record(root, settings),
        "keyring": packages.key_fingerprints(root, of.family) if of else [],
        "foreign_source": packages.foreign_source(root, base_url(of, settings)) if of and devices else "",
        "own_source": packages.own_source(root, of.family) if of else "",
    }


def record(root: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"packages": [...]} that the role installed, and "restart" (see nvidia_files.mark); {} where there is neither."""
    try:
        kept = json.loads(read(root, os.path.join(str(settings.get("fleet_state_dir") or ""), RECORD)))
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}


def base_url(system: table.System, settings: Mapping[str, Any]) -> str:
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
