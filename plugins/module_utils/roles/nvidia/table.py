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
# CUDA versions that torch's wheels are built for; the first is the one that the package index itself serves.
TORCH_BUILDS = {
    "2.5": ("12.4", "11.8", "12.1"),
    "2.6": ("12.4", "11.8", "12.6"),
    "2.7": ("12.6", "11.8", "12.8"),
    "2.8": ("12.8", "12.6", "12.9"),
    "2.9": ("12.8", "12.6", "13.0"),
}
TRAINER_NEEDS = (8, 0)  # flash-attn 2 and bf16


@dataclass(frozen=True)
class Generation:
    """A GPU generation: its PCI device numbers, what serves it, and from when to when."""

    name: str
    devices: tuple[tuple[int, int], ...]  # inclusive ranges
    capability: tuple[int, int]  # the lowest
    modules: str  # kernel module: proprietary, either or open
    first_branch: int
    first_cuda: str  # the first toolkit, and so the first build of torch, that has code for it
    last_branch: int = 0  # 0: still served


GENERATIONS = (
    Generation(
        "Maxwell", ((0x1340, 0x13FF), (0x1400, 0x14FF), (0x17C0, 0x17FF)), (5, 0), "proprietary", 340, "6.5", 580
    ),
    Generation("Pascal", ((0x15F0, 0x15FF), (0x1B00, 0x1D7F)), (6, 0), "proprietary", 367, "8.0", 580),
    Generation("Volta", ((0x1D80, 0x1DFF),), (7, 0), "proprietary", 384, "9.0", 580),
    Generation("Turing", ((0x1E00, 0x1FFF), (0x2180, 0x21FF)), (7, 5), "either", 410, "10.0"),
    Generation("Ampere", ((0x2080, 0x20FF), (0x2200, 0x22FF), (0x2400, 0x25FF)), (8, 0), "either", 450, "11.0"),
    Generation("Hopper", ((0x2300, 0x23FF),), (9, 0), "either", 520, "11.8"),
    Generation("Ada Lovelace", ((0x2600, 0x28FF),), (8, 9), "either", 520, "11.8"),
    Generation("Blackwell", ((0x2900, 0x2FFF), (0x3180, 0x31FF)), (10, 0), "open", 570, "12.8"),
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


def cuda_knows(cuda: str, of: Generation) -> bool:
    """True when a build for that CUDA has code for that generation."""
    return version_tuple(cuda) >= version_tuple(of.first_cuda)


def fabric_package(of: System, branch: str, version: str = "") -> str:
    """Fabric manager in the driver's very version ("" before that is known): with another one it refuses to start."""
    renamed = int(branch) >= 580
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
    """What brings the driver of a branch (which the pin chooses on Debian's family), headers, and fabric manager."""
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
