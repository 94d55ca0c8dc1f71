"""The distributions that NVIDIA packages for, and the packages by distribution, GPU generation and driver branch.

Key fingerprints are those of the keys that lie beside the repositories they sign. Generations:
machine/gpu_generations.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...machine.gpu_generations import generation, major


@dataclass(frozen=True)
class System:
    """A distribution that NVIDIA packages for."""

    name: str  # of the repository's folder
    family: str  # debian or el
    key: str  # file beside the repository
    fingerprint: str


_UBUNTU_KEY = ("3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC")
SYSTEMS = {
    ("debian", "12"): System("debian12", "debian", *_UBUNTU_KEY),
    ("debian", "13"): System("debian13", "debian", "8793F200.pub", "02182E60104FCDC26EAE1B8597A5D4CB8793F200"),
    ("ubuntu", "22.04"): System("ubuntu2204", "debian", *_UBUNTU_KEY),
    ("ubuntu", "24.04"): System("ubuntu2404", "debian", *_UBUNTU_KEY),
    ("el", "9"): System("rhel9", "el", "D42D0685.pub", "610C7B14E068A878070DA4E99CD0A493D42D0685"),
}
EL_NAMES = ("rhel", "rocky", "almalinux", "centos", "ol")
# Whatever may have the driver's version in NVIDIA's repositories: a name that is left out comes from the newest branch,
# and apt gives up on the others. Some are not the driver's (container toolkit): only those in its version are judged.
DRIVER_GLOBS = (
    "nvidia-*",
    "lib*nvidia*",
    "libcuda*",
    "libnvcuvid*",
    "libnvoptix*",
    "libnvsdm*",
    "libxnvctrl*",
    "firmware-nvidia-*",
    "cuda-drivers*",
    "xserver-xorg-video-nvidia*",
)


def system(release: Mapping[str, str]) -> System | None:
    """The row for the fields of /etc/os-release; None for a distribution that has none."""
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    if name in EL_NAMES:
        name, version = "el", version.split(".")[0]
    return SYSTEMS.get((name, version))


def kernel_module(devices: Sequence[int]) -> str:
    """open or proprietary, for all GPUs of a host; an unknown device is a new one, and those need the open module.

    Raises ValueError for a host whose GPUs no one module serves.
    """
    needs = {found.modules if (found := generation(device)) else "open" for device in devices}
    if {"proprietary", "open"} <= needs:
        raise ValueError("one GPU needs the open kernel module, another the proprietary one")
    return "proprietary" if "proprietary" in needs else "open"


def fabric_package(of: System, branch: str, version: str = "") -> str:
    """Fabric manager in the driver's very version ("" before that is known): with another one it refuses to start."""
    renamed = major(branch) >= 580
    if of.family == "el":
        return f"nvidia-{'fabricmanager' if renamed else 'fabric-manager'}-{version or branch + '.*'}"
    return "nvidia-fabricmanager" if renamed else f"nvidia-fabricmanager-{branch}"


def header_packages(of: System, kernel: str) -> list[str]:
    """Headers of the running kernel; on Debian also the name that brings those of each later one."""
    if of.family == "el":
        return [f"kernel-devel-{kernel}"]
    flavour = re.search(r"-((?:cloud-|rt-)?amd64)$", kernel)
    later = [f"linux-headers-{flavour[1]}"] if flavour and of.name.startswith("debian") else []
    return [f"linux-headers-{kernel}", *later]


def driver_packages(of: System, branch: str, module: str, kernel: str, nvswitch: bool) -> list[str]:
    """Packages for the driver of a branch (a pin chooses it on Debian and Ubuntu), headers, and fabric manager."""
    fabric = [fabric_package(of, branch)] if nvswitch else []
    if of.family == "el":
        stream = f"{branch}-open" if module == "open" else f"{branch}-dkms"
        return [*header_packages(of, kernel), f"@nvidia-driver:{stream}", *fabric]
    driver = "nvidia-open" if module == "open" else "cuda-drivers"
    persistence = ["nvidia-persistenced"] if of.name.startswith("debian") else []  # Ubuntu's driver brings its own
    return [*header_packages(of, kernel), driver, *persistence, *fabric]


def toolkit_package(cuda: str) -> str:
    """12.8 → cuda-toolkit-12-8, on every distribution."""
    return "cuda-toolkit-" + "-".join(cuda.split(".")[:2])
