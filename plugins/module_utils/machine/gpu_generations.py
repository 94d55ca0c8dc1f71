"""The one table that ties GPU generation, driver branch, CUDA and torch's builds together.

Driver minima are those of NVIDIA's CUDA release notes for Linux x86_64; the rule of minor-version compatibility is
that a program of CUDA N.x runs on every driver that is new enough for N.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core.version import numbers

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


def generation(device: int) -> Generation | None:
    """By PCI device number, so that it is known before any driver is."""
    return next((g for g in GENERATIONS if any(low <= device <= high for low, high in g.devices)), None)


def served(device: int, branch: int) -> bool:
    """True when that driver branch knows the GPU; a newer one than the table is taken for known."""
    known = generation(device)
    return not known.last_branch or branch <= known.last_branch if known else device >= GENERATIONS[0].devices[0][0]


def major(cuda: str) -> int:
    """12.6 → 12; 0 for an empty text."""
    return (numbers(cuda) or (0,))[0]


def driver_suffices(driver: str, cuda: str) -> bool:
    """True when programs of that CUDA version run on that driver (minor-version compatibility)."""
    needed = MAJOR_DRIVER.get(major(cuda))
    return needed is not None and numbers(driver) >= needed


def driver_needed(cuda: str) -> str:
    """The oldest driver for that CUDA version: 12.6 → 525.60.13; another text for an unknown one."""
    return ".".join(f"{part:02}" for part in MAJOR_DRIVER.get(major(cuda), ())) or "of a later table"


def torch_cuda_fits(torch: str, cuda: str) -> bool:
    """True when torch of that version is built for that CUDA version, or is not in the table."""
    return ".".join(cuda.split(".")[:2]) in (torch_builds(torch) or (cuda,))


def torch_builds(torch: str) -> tuple[str, ...]:
    """CUDA versions that torch of that version is built for; () for one that is not in the table."""
    return TORCH_BUILDS.get(".".join(torch.split("+")[0].split(".")[:2]), ())


def cuda_knows(cuda: str, of: Generation) -> bool:
    """True when a build for that CUDA has code for that generation."""
    return numbers(cuda) >= numbers(of.first_cuda)
