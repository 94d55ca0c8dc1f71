"""Facts of a host for the environment findings, also compared within its run."""

from __future__ import annotations

from dataclasses import dataclass

from .environment import Environment
from .facts import Facts
from .gpu import Gpu


@dataclass(frozen=True)
class Host:
    name: str
    environment: Environment
    gpu_names: tuple[str, ...] = ()
    driver: str = ""  # version of the one that works
    devices: tuple[int, ...] = ()  # PCI device numbers of the GPUs
    torch_cuda: str = ""  # of the environment's torch, as it said when the imports were proved
    gpus: tuple[Gpu, ...] = ()  # that answer
    facts: Facts | None = None
    proved: tuple[str, ...] = ()  # modules that the environment imported
    phase: str = "absent"  # of the training
    time: float = 0  # of its own clock, in seconds since the epoch
    asked: tuple[float, float] | None = None  # the controller's clock before and after the question

    @property
    def skew(self) -> tuple[float, float] | None:
        """(seconds that the host's clock is ahead of the controller's, how far that may be wrong)."""
        if self.asked is None:
            return None
        begin, end = self.asked
        return self.time - (begin + end) / 2, (end - begin) / 2
