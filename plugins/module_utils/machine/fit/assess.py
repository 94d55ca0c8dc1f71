"""Does a run fit a host, which profiles do, and what is the nearest setting or hardware that does? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .disks import Disk
from .host_memory import host_floor, host_phases
from .memory import Run, gpu_phases

ESTIMATE = 0.3  # of the activations may be estimated too high: between, a run is called tight and not refused
ESTIMATED = ("inputs of layers", "one layer", "logits", "attention masks")
TOKEN_STEP = 1024
MOST_GPUS = 128  # of one run; more than that and another kind of GPU is the answer


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


@dataclass(frozen=True)
class Change:
    """Settings that make it fit. Empty settings: the hardware, so many GPUs of this kind in one run."""

    settings: Mapping[str, Any]
    run: Run
    gpus: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"settings": dict(self.settings), "gpus": self.gpus, "host_memory_bytes": host_floor(self.run)}


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


def profiles(run: Run) -> dict[str, Run]:
    """The profiles that users run, on this host's ranks."""
    full = replace(run, freeze_llm=False, freeze_vit=False, patched=False, ema_copy=True, offload=False)
    frozen = replace(run.frozen(ema_copy=False), offload=False)
    return {
        "full": full,
        "full, cpu_offload": replace(full, offload=True),
        "frozen": frozen,
        "frozen, EMA copy": replace(frozen, ema_copy=True),
        "frozen, cpu_offload, 1 process": replace(frozen, ranks=1, shards=0 if run.nodes == 1 else 1, offload=True),
    }


def nearest_setting(run: Run, node: Node) -> Change | None:
    """The settings that change least and fit; None where none does (or everything fits as it is).

    Where the host's memory is in the way of all of them: those that need least of it.
    """
    found = next(_fitting(run, node), None)
    if found:
        return found
    return min(
        _fitting(run, replace(node, memory=float("inf"))), key=lambda change: host_floor(change.run), default=None
    )


def _fitting(run: Run, node: Node) -> Iterator[Change]:
    for settings, other in _variants(run, node):
        fewer = _fewer_tokens(other, node)
        if fewer is None:
            continue
        tokens = {} if fewer == other else {"run_config_expected_num_tokens": fewer.expected_tokens}
        if settings or tokens:
            yield Change({**settings, **tokens}, fewer)


def _variants(run: Run, node: Node) -> Iterator[tuple[dict[str, Any], Run]]:
    """From the smallest change to the largest: shards, processes, profile, then CPU offload (five times slower)."""
    kinds: list[tuple[dict[str, Any], Run]] = [({}, run)]
    if not run.patched:
        # the default of run_config_ema follows the profile: 0, no copy
        kinds.append(({"training_profile": "frozen"}, run.frozen(ema_copy=False)))
    elif run.ema_copy:
        kinds.append(({"run_config_ema": 0}, run.frozen(ema_copy=False)))
    if not run.lean:
        lean: list[tuple[dict[str, Any], Run]] = [
            ({"canvas_code_lean": True, **settings}, replace(kind, lean=True)) for settings, kind in kinds
        ]
        kinds = [one for pair in zip(lean, kinds) for one in pair]
    for settings, kind in kinds:
        yield settings, kind
        if kind.nodes > 1 and kind.split == kind.ranks:
            world = kind.nodes * kind.ranks
            wider = {"run_config_num_shard": world, "run_config_num_replicate": 1}
            yield {**settings, **wider}, replace(kind, shards=world)
        idle = range(kind.ranks + 1, node.gpus + 1)
        for ranks in (*idle, *range(kind.ranks - 1, 0, -1)):
            yield {**settings, "run_config_processes": ranks}, replace(kind, ranks=ranks, shards=0)
    if run.offload or run.nodes > 1 or not run.gpu:
        return
    for settings, kind in kinds:
        one = {} if kind.ranks == 1 else {"run_config_processes": 1}
        yield {**settings, **one, "run_config_cpu_offload": True}, replace(kind, ranks=1, shards=0, offload=True)


def _fewer_tokens(run: Run, node: Node) -> Run | None:
    """The run itself when it fits, else with the largest expected_num_tokens that does; None when none does."""
    if fits(run, node):
        return run
    least = -(-run.sample_tokens // TOKEN_STEP)  # in steps; with less than the longest sample batches are no shorter
    if not fits(run.expecting(least * TOKEN_STEP), node):
        return None
    low, high = least, -(-run.expected_tokens // TOKEN_STEP)  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        if fits(run.expecting(middle * TOKEN_STEP), node):
            low = middle
        else:
            high = middle
    return run.expecting(low * TOKEN_STEP)


def nearest_hardware(run: Run, node: Node) -> Change | None:
    """The fewest GPUs of this kind, all of one model's shards, on which the run fits as it is; None where none do.

    The host's memory is stated, not judged, because another host has other memory.
    """
    if not node.gpus:
        return None
    for number in range(run.ranks * run.nodes + 1, MOST_GPUS + 1):
        other = replace(run, ranks=number, nodes=1, shards=number)
        if judge_gpu(other, node).state == "fits":
            return Change({}, other, number)
    return None


@dataclass(frozen=True)
class Fit:
    """One host's part in a run: what it needs, which profiles fit, and the nearest that does when this one does not."""

    run: Run
    node: Node
    gpu: Verdict | None  # None: no GPU is expected, or none was seen yet
    host: Verdict
    profiles: Mapping[str, tuple[Verdict | None, Verdict]]
    setting: Change | None = None
    hardware: Change | None = None
    disks: tuple[Disk, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)  # of the download and of one save

    @property
    def state(self) -> str:
        states = [verdict.state for verdict in (self.gpu, self.host) if verdict]
        return next((state for state in ("short", "tight") if state in states), "fits")

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, with each item of each phase in bytes."""
        return {
            "state": self.state,
            "model": {**vars(self.run.model), "parameters": self.run.model.parameters, "trained": self.run.trained},
            "gpu": self.gpu.as_dict() if self.gpu else None,
            "host": self.host.as_dict(),
            "phases": {
                "gpu": _plain(gpu_phases(self.run)) if self.run.gpu else {},
                "host": _plain(host_phases(self.run)),
            },
            "profiles": {
                name: {
                    "fits": all(verdict is None or verdict.state != "short" for verdict in pair),
                    "gpu_need": pair[0].need if pair[0] else None,
                    "gpu_missing": pair[0].missing if pair[0] else None,
                    "host_need": pair[1].need,
                    "host_missing": pair[1].missing,
                }
                for name, pair in self.profiles.items()
            },
            "disks": [disk.as_dict() for disk in self.disks],
            "seconds": dict(self.seconds),
            "nearest_setting": self.setting.as_dict() if self.setting else None,
            "nearest_hardware": self.hardware.as_dict() if self.hardware else None,
        }


def _plain(phases: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: dict(items) for name, items in phases.items()}


def assess(run: Run, node: Node) -> Fit:
    """Judge the run as configured and each profile. Search the nearest fit only when it does not fit."""

    def pair(one: Run) -> tuple[Verdict | None, Verdict]:
        judged = run.gpu and node.gpus > 0
        return (judge_gpu(one, node) if judged else None), judge_host(one, node)

    gpu, host = pair(run)
    found = Fit(run, node, gpu, host, {name: pair(one) for name, one in profiles(run).items()})
    if found.state == "fits":
        return found
    setting = nearest_setting(run, node)
    wider = setting is not None and setting.run.split > run.split
    hardware = nearest_hardware(run, node) if gpu and gpu.state != "fits" and not wider else None
    return replace(found, setting=setting, hardware=hardware)
