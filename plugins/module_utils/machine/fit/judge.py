"""Does a run fit a host? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .host_memory import host_floor, host_phases
from .memory import Run, gpu_phases

ESTIMATE = 0.3  # of the activations may be estimated too high: between, a run is called tight and not refused
ESTIMATED = ("inputs of layers", "one layer", "logits", "attention masks")
ROOM = 0.05  # of what is planned stays free for the allocator's reserve, where the plan itself chooses a profile


@dataclass(frozen=True)
class Node:
    """Hardware of a host. gpu_bytes is the smallest GPU's memory; 0 GPUs: none seen, none judged."""

    gpus: int
    gpu_bytes: float
    memory: float
    gpu_name: str = "GPU"


@dataclass(frozen=True)
class Verdict:
    """`floor` is the minimum of the run, `need` a comfortable amount, both in bytes."""

    need: float
    floor: float
    have: float
    phase: str  # where it is short, or else where it needs most
    items: Mapping[str, float]

    @property
    def state(self) -> str:
        return "fits" if self.have >= self.need else "tight" if self.have >= self.floor else "short"

    @property
    def missing(self) -> float:
        return max(0.0, self.need - self.have)

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "items": dict(self.items), "state": self.state, "missing": self.missing}


def judge_gpu(run: Run, node: Node) -> Verdict:
    """The first phase that does not fit, or else the one that needs most."""
    phases = gpu_phases(run)
    totals = {name: sum(items.values()) for name, items in phases.items()}
    floors = {
        name: totals[name] - ESTIMATE * sum(size for item, size in items.items() if item in ESTIMATED)
        for name, items in phases.items()
    }
    short = [name for name in phases if floors[name] > node.gpu_bytes] or [
        name for name in phases if totals[name] > node.gpu_bytes
    ]
    phase = short[0] if short else max(totals, key=lambda name: totals[name])
    need, floor = max(totals.values()), max(floors.values())
    return Verdict(need, floor, node.gpu_bytes, phase, phases[phase])


def judge_host(run: Run, node: Node) -> Verdict:
    phases = host_phases(run)
    phase = max(phases, key=lambda name: sum(phases[name].values()))
    return Verdict(sum(phases[phase].values()), host_floor(run), node.memory, phase, phases[phase])


def fits(run: Run, node: Node) -> bool:
    """True when the memory of GPUs and host suffices."""
    if run.gpu and node.gpus and (run.ranks > node.gpus or judge_gpu(run, node).state != "fits"):
        return False
    return judge_host(run, node).state != "short"


def roomy(run: Run, node: Node) -> bool:
    """The same, and the GPUs keep some memory free."""
    if not fits(run, node):
        return False
    return not (run.gpu and node.gpus) or judge_gpu(run, node).need * (1 + ROOM) <= node.gpu_bytes
