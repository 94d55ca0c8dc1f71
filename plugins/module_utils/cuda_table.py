"""The one table that ties GPU generation, driver branch, CUDA toolkit, torch build and distribution together.

Driver minima are those of NVIDIA's CUDA release notes for Linux x86_64; the rule of minor-version compatibility is
that a program of CUDA N.x runs on every driver that is new enough for N.0. Key fingerprints are those of the keys that
lie beside the repositories they sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# The driver that came with each toolkit.
TOOLKIT_DRIVER = {
    "11.8": (520, 61, 5),
    "12.0": (525, 60, 13),
    "12.1": (530, 30, 2),
    "12.2": (535, 54, 3),
    "12.3": (545, 23, 6),
    "12.4": (550, 54, 14),
    "12.5": (555, 42, 2),
    "12.6": (560, 28, 3),
    "12.8": (570, 26),
    "12.9": (575, 51, 3),
    "13.0": (580, 65, 6),
}
MAJOR_DRIVER = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}
# CUDA versions that torch's wheels are built for.
TORCH_BUILDS = {
    "2.5": ("11.8", "12.1", "12.4"),
    "2.6": ("11.8", "12.4", "12.6"),
    "2.7": ("11.8", "12.6", "12.8"),
    "2.8": ("12.6", "12.8", "12.9"),
    "2.9": ("12.6", "12.8", "13.0"),
}


@dataclass(frozen=True)
class Generation:
    """A GPU generation: its PCI device numbers, compute capability, and which kernel module serves it."""

    name: str
    devices: tuple[tuple[int, int], ...]  # inclusive ranges
    capability: str
    modules: str  # proprietary, either or open
    first_branch: int


GENERATIONS = (
    Generation("Maxwell", ((0x1340, 0x13FF), (0x1400, 0x14FF), (0x17C0, 0x17FF)), "5.x", "proprietary", 340),
    Generation("Pascal", ((0x15F0, 0x15FF), (0x1B00, 0x1D7F)), "6.x", "proprietary", 367),
    Generation("Volta", ((0x1D80, 0x1DFF),), "7.0", "proprietary", 384),
    Generation("Turing", ((0x1E00, 0x1FFF), (0x2180, 0x21FF)), "7.5", "either", 410),
    Generation("Ampere", ((0x2080, 0x20FF), (0x2200, 0x22FF), (0x2400, 0x25FF)), "8.x", "either", 450),
    Generation("Hopper", ((0x2300, 0x23FF),), "9.0", "either", 520),
    Generation("Ada Lovelace", ((0x2600, 0x28FF),), "8.9", "either", 520),
    Generation("Blackwell", ((0x2900, 0x2FFF), (0x3180, 0x31FF)), "10.x", "open", 570),
)


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


def system(release: Mapping[str, str]) -> System | None:
    """The row for the fields of /etc/os-release; None for a distribution that has none."""
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    if name in EL_NAMES:
        name, version = "el", version.split(".")[0]
    return SYSTEMS.get((name, version))


def version_tuple(text: str) -> tuple[int, ...]:
    """580.159.04 → (580, 159, 4); () for a text without a number."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def generation(device: int) -> Generation | None:
    """By PCI device number, so that it is known before any driver is."""
    return next((g for g in GENERATIONS if any(low <= device <= high for low, high in g.devices)), None)


def driver_suffices(driver: str, cuda: str) -> bool:
    """True when programs of that CUDA version run on that driver (minor-version compatibility)."""
    needed = MAJOR_DRIVER.get(version_tuple(cuda)[0] if cuda else 0)
    return needed is not None and version_tuple(driver) >= needed


def kernel_module(devices: list[int]) -> str:
    """open or proprietary, for all GPUs of a host; an unknown device is a new one, and those need the open module.

    Raises ValueError for a host whose GPUs no one module serves.
    """
    needs = {found.modules if (found := generation(device)) else "open" for device in devices}
    if {"proprietary", "open"} <= needs:
        raise ValueError("one GPU needs the open kernel module, another the proprietary one")
    return "proprietary" if "proprietary" in needs else "open"


def torch_cuda_fits(torch: str, cuda: str) -> bool:
    """True when torch of that version is built for that CUDA version, or is not in the table."""
    builds = TORCH_BUILDS.get(".".join(torch.split("+")[0].split(".")[:2]))
    return builds is None or ".".join(cuda.split(".")[:2]) in builds


def driver_packages(of: System, branch: str, module: str, kernel: str, nvswitch: bool) -> list[str]:
    """What brings the driver of a branch, with headers for the running kernel, and fabric manager for NVSwitch."""
    if of.family == "el":
        stream = f"{branch}-open" if module == "open" else f"{branch}-dkms"
        fabric = [f"nvidia-fabric-manager-{branch}.*"] if nvswitch else []
        return [f"kernel-devel-{kernel}", f"@nvidia-driver:{stream}", *fabric]
    driver = f"nvidia-open-{branch}" if module == "open" else f"cuda-drivers-{branch}"
    fabric = [f"nvidia-fabricmanager-{branch}"] if nvswitch else []
    return [f"linux-headers-{kernel}", driver, *fabric]


def toolkit_package(cuda: str) -> str:
    """12.8 → cuda-toolkit-12-8, on every distribution."""
    return "cuda-toolkit-" + "-".join(cuda.split(".")[:2])
