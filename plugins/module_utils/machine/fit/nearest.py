"""The profiles that users run, and the setting or hardware nearest to theirs that fits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .host_memory import host_floor
from .judge import Node, fits, judge_gpu, judge_host, roomy
from .memory import Run

TOKEN_STEP = 1024
MOST_GPUS = 128  # of one run; more than that and another kind of GPU is the answer
GRAIN = 8e9  # bytes of host memory; a smaller difference is no reason for a larger change
RANKS = (16, 8)  # of adapters, where the one that is wanted is too large for the card
Kind = tuple[dict[str, Any], Run]  # settings that differ from those of the run, and the run with them


@dataclass(frozen=True)
class Change:
    """Settings that make it fit. Empty settings: the hardware, so many GPUs of this kind in one run."""

    settings: Mapping[str, Any]
    run: Run
    gpus: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"settings": dict(self.settings), "gpus": self.gpus, "host_memory_bytes": host_floor(self.run)}


def profiles(run: Run) -> dict[str, Run]:
    """The profiles that users run, on this host's ranks."""
    here = replace(run, offload=False)
    full, lora, frozen = here.full(), here.adapted(), here.frozen(ema_copy=False)
    return {
        "full": full,
        "full, no EMA copy": replace(full, ema_copy=False, optimizer=fused(run)),
        "full, 8 bit": replace(full, ema_copy=False, optimizer="adamw_8bit"),
        "full, cpu_offload": replace(full, offload=True),
        "lora": lora,
        "lora, streamed": replace(lora, offload=True),
        "frozen": frozen,
        "frozen, EMA copy": replace(frozen, ema_copy=True),
        "frozen, cpu_offload, 1 process": replace(frozen, ranks=1, shards=0 if run.nodes == 1 else 1, offload=True),
    }


def fused(run: Run) -> str:
    return "adamw_fused" if run.optimizer == "adamw" else run.optimizer


def nearest_setting(run: Run, node: Node) -> Change | None:
    """The settings that change least and fit, with room to spare if there are such; None where none does (or everything
    fits as it is).

    Where the host's memory is in the way of all of them: those that need least of it.
    """
    if fits(run, node):  # but the host's memory is tight
        return next(_fitting(run, node, at_ease), None)
    found = next(_fitting(run, node, well), None) or next(_fitting(run, node, fits), None)
    if found:
        return found
    large = replace(node, memory=float("inf"))
    return _smallest(_fitting(run, large, well)) or _smallest(_fitting(run, large, fits))


def at_ease(run: Run, node: Node) -> bool:
    """The host's memory is not tight, either."""
    return well(run, node) and judge_host(run, node).state == "fits"


def well(run: Run, node: Node) -> bool:
    """It fits with room to spare; streamed, nothing smaller is left, so it only has to fit."""
    return fits(run, node) if run.streamed else roomy(run, node)


def _smallest(changes: Iterator[Change]) -> Change | None:
    return min(changes, key=lambda change: host_floor(change.run) // GRAIN, default=None)


def _fitting(run: Run, node: Node, suits: Callable[[Run, Node], bool]) -> Iterator[Change]:
    for settings, other in _variants(run, node):
        fewer = _fewer_tokens(other, node)
        if fewer is None or (settings and not suits(fewer, node)):
            continue
        tokens = {} if fewer == other else {"run_config_expected_num_tokens": fewer.expected_tokens}
        if settings or tokens:
            yield Change({**settings, **tokens}, fewer)


def _variants(run: Run, node: Node) -> Iterator[Kind]:
    """From the smallest change to the largest: of what is computed, of what is held, of what is trained. Of each, with
    other shards and other processes."""
    for settings, kind in _kinds(run):
        if not run.lean:
            yield from _spread({"canvas_code_lean": True, **settings}, replace(kind, lean=True), node)
        yield from _spread(settings, kind, node)


def _kinds(run: Run) -> Iterator[Kind]:
    yield {}, run
    if run.lora:
        yield from _smaller(run)
    elif run.patched and run.ema_copy:
        yield {"run_config_ema": 0}, run.frozen(ema_copy=False)
    elif not run.patched:
        yield from _full(run)
        lora = {"training_profile": "lora"}
        yield lora, run.adapted()
        if not run.offload:
            yield {**lora, "run_config_cpu_offload": True}, replace(run.adapted(), offload=True)
    frozen = run.frozen(ema_copy=False)  # the default of run_config_ema follows the profile: 0, no copy
    profile = {} if run.patched and not run.lora else {"training_profile": "frozen"}
    if profile:
        yield profile, frozen
    if not run.offload and run.gpu and run.nodes == 1:
        # the search does not change the number of processes of this one: with more of them nothing is streamed
        one = {} if run.ranks == 1 else {"run_config_processes": 1}
        ema = {"run_config_ema": 0} if not profile and run.ema_copy else {}
        yield (
            {**profile, **ema, **one, "run_config_cpu_offload": True},
            replace(frozen, ranks=1, shards=0, offload=True),
        )


def _full(run: Run) -> Iterator[Kind]:
    """`full` with less beside the weights. bitsandbytes has no kernels for the host."""
    quick = {"run_config_optimizer": "adamw_fused"} if run.optimizer == "adamw" else {}
    small = {"run_config_optimizer": "adamw_8bit"} if run.optimizer != "adamw_8bit" and not run.offload else {}
    without = {"run_config_ema": 0} if run.ema_copy else {}
    for optimizer, ema in ((quick, {}), ({}, without), (quick, without), (small, {}), (small, without)):
        settings = {**ema, **optimizer}
        kind = str(optimizer.get("run_config_optimizer", run.optimizer))
        if settings:
            yield settings, replace(run, ema_copy=run.ema_copy and not ema, optimizer=kind)


def _smaller(run: Run) -> Iterator[Kind]:
    """`lora` streamed, and of a lower rank."""
    streamed: dict[str, Any] = {} if run.offload else {"run_config_cpu_offload": True}
    other = replace(run, offload=True)
    if streamed:
        yield streamed, other
    for rank in RANKS:
        if rank < run.adapters.rank:
            yield {**streamed, "training_lora_rank": rank}, replace(other, adapters=replace(run.adapters, rank=rank))


def _spread(settings: dict[str, Any], kind: Run, node: Node) -> Iterator[Kind]:
    """The same with other shards and processes."""
    yield settings, kind
    if kind.streamed and not kind.lora:
        return
    if kind.nodes > 1 and kind.split == kind.ranks and not kind.streamed:
        world = kind.nodes * kind.ranks
        wider = {"run_config_num_shard": world, "run_config_num_replicate": 1}
        yield {**settings, **wider}, replace(kind, shards=world)
    idle = range(kind.ranks + 1, node.gpus + 1)
    for ranks in (*idle, *range(kind.ranks - 1, 0, -1)):
        yield {**settings, "run_config_processes": ranks}, replace(kind, ranks=ranks, shards=0)


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
