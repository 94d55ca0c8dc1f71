"""One GPU of a host, as the driver reports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    memory_bytes: int
    uuid: str = ""
    architecture: str = ""
    driver_version: str = ""
    busy_processes: tuple[str, ...] = ()
    ecc_errors: int = 0  # uncorrected ones since the driver was loaded
    mig: bool = False
    memory_used_bytes: int = 0
    memory_held_bytes: int | None = 0  # by the listed processes; None if one is unknown
    persistence: bool = True
    pending: tuple[str, ...] = ()  # what a reset of the GPU would change
    worn: bool = False  # it has no spare row of memory left


def names(gpus: Sequence[Gpu]) -> str:
    """8 × NVIDIA H100 80GB HBM3."""
    counted: dict[str, int] = {}
    for item in gpus:
        counted[item.name] = counted.get(item.name, 0) + 1
    return " + ".join(f"{number} × {name}" for name, number in counted.items())
