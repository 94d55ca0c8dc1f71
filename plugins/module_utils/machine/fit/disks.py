"""Disk space of a run on its hosts, and the time of a download and a save. Bytes and seconds. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..facts import FileSystem
from .memory import BF16, FP32, Run

# B/s, where neither a measured nor a given rate is known: a line of 1 Gbit/s, and a disk of a rented server.
DOWNLOAD_RATE, DISK_RATE = 110e6, 1e9
GATHER_RATE = 0.5e9  # B/s at which rank 0 gathers sharded weights into host memory: 0.42 to 0.96 on two to four H100s
AT_LEAST = 2  # checkpoints that the guard keeps able to resume (checkpoints/rotation.py)


@dataclass(frozen=True)
class Saves:
    """How often a run saves, and which older saves stay. `node`: this host's rank among the hosts.

    keep_last None: no guard watches the checkpoints, and --del_previous_state alone decides. With the guard the newest
    two whole ones at least stay able to resume, and a keep_last above 0 has older folders removed.
    """

    total_steps: int
    save_every: int
    thinned: bool  # --del_previous_state True
    node: int = 0
    keep_last: int | None = None
    keep_every: int = 0
    fetches: bool = False  # a host above the first: before a start it copies what it resumes from (peers/)

    @property
    def number(self) -> int:
        """Saves happen at multiples of save_every from 1 on; the steps are 0 … total_steps."""
        return self.total_steps // self.save_every if self.save_every > 0 else 0

    @property
    def kept(self) -> int:
        """Number of earlier saves that stay ready to resume while the last one is written."""
        before = max(0, self.number - 1)
        if self.keep_last is None:
            return min(before, 1)
        newest = min(before, max(self.keep_last, AT_LEAST))
        if self.keep_every < 1:
            return newest
        return newest + (before - newest) * self.save_every // math.lcm(self.save_every, self.keep_every)

    @property
    def folders(self) -> int:
        """Checkpoints with model and EMA at the peak, while the last save is written."""
        return self.kept + min(1, self.number) if self.keep_last else self.number

    @property
    def states(self) -> int:
        """Checkpoints with optimizer state at the peak: a save deletes older state only when it is complete."""
        return self.kept + min(1, self.number) if self.thinned or self.keep_last else self.number


def save_parts(run: Run, node: int = 0) -> dict[str, float]:
    """Bytes that one save writes on this host.

    Rank 0 writes model and EMA, each rank below num_shard its part of the optimizer's moments. Without an EMA copy the
    patched code gives model.safetensors a second name, which takes no space. Rank 0 writes all of `lora`.
    """
    parts: dict[str, float] = {}
    if run.lora:
        adapters = float(FP32 * run.replicated)
        return {"adapter.safetensors": adapters, "optimizer": run.moments * run.replicated} if node == 0 else {}
    if node == 0:
        parts["model.safetensors"] = float(BF16 * run.model.parameters)
        if run.ema_copy:
            parts["ema.safetensors"] = float(BF16 * run.model.parameters)
    writing = min(max(0, run.split - node * run.ranks), run.ranks)
    if writing:
        parts["optimizer"] = run.moments * run.sharded * writing / run.split
    return parts


def run_parts(run: Run, saves: Saves) -> dict[str, float]:
    """Bytes of all checkpoints at the peak."""
    one = save_parts(run, saves.node)
    parts = {name: size * (saves.states if name == "optimizer" else saves.folders) for name, size in one.items()}
    if saves.fetches:
        ranks_of_all = replace(run, ranks=max(run.ranks, run.split))
        parts["copies of the first host's"] = sum(save_parts(ranks_of_all).values()) * min(AT_LEAST, saves.number)
    return parts


def fewer_saves(run: Run, saves: Saves, role: float) -> Saves | None:
    """The largest number of saves that fits and ends with the last step; None when not even one fits."""
    total = saves.total_steps
    for number in range(saves.number - 1, 0, -1):
        fewer = replace(saves, save_every=total // number)
        if total % number == 0 and sum(run_parts(run, fewer).values()) <= role:
            return fewer
    return None


@dataclass(frozen=True)
class Disk:
    """One file system of a host: bytes still to be written, and free bytes."""

    at: str
    have: float
    parts: Mapping[str, float]  # what is written, and its bytes
    variables: tuple[str, ...]  # the settings whose folders lie there

    @property
    def need(self) -> float:
        return sum(self.parts.values())

    @property
    def short(self) -> bool:
        return self.have < self.need

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "parts": dict(self.parts), "need": self.need, "short": self.short}


def disks(seen: Mapping[str, FileSystem], wants: Mapping[str, tuple[str, float]]) -> tuple[Disk, ...]:
    """The disks that something is written to. `seen`: folders' settings to the file system as observed; `wants`: the
    same to what is written and its bytes. Folders on one file system share its space.
    """
    by_device: dict[int, list[str]] = {}
    for name, (_unused, size) in wants.items():
        if size > 0 and name in seen:
            by_device.setdefault(seen[name].device, []).append(name)
    return tuple(
        Disk(seen[names[0]].at, float(seen[names[0]].free), dict(wants[name] for name in names), tuple(names))
        for names in by_device.values()
    )


def seconds(size: float, rate: float) -> float:
    """Seconds for that many bytes; 0 without bytes or rate."""
    return size / rate if size > 0 and rate > 0 else 0.0


def times(missing: float, run: Run, node: int, rates: Mapping[str, float]) -> dict[str, float]:
    """Seconds of the download of what is missing and of one save; `rates`: B/s by "download" and "disk", if known."""
    # lean, no faster than it is written; adapters are never gathered
    gathered = run.weights + run.ema if run.split > 1 and not run.lean and not run.lora else 0.0
    return {
        "download": seconds(missing, rates.get("download") or DOWNLOAD_RATE),
        "save": seconds(gathered, GATHER_RATE)
        + seconds(sum(save_parts(run, node).values()), rates.get("disk") or DISK_RATE),
    }
