"""training_profile: auto: the best profile that fits all hosts of a run. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.progress import amount
from .judge import ROOM, Node, judge_gpu, judge_host
from .memory import Run
from .nearest import fused, well

FULL_RATE, LORA_RATE = 1e-5, 1e-4  # the default of run_config_lr, which is for full fine-tuning; that of adapters


@dataclass(frozen=True)
class Candidate:
    """A profile in words, the settings that make it, and the run with them."""

    name: str
    settings: Mapping[str, Any]
    run: Run


@dataclass(frozen=True)
class Choice:
    """What `auto` stands for. `why`: the reason, and what each better one lacks. Not `settled`: no GPU was seen yet.
    `unsure`: what is not known yet, and may change the choice of a later play."""

    name: str
    settings: Mapping[str, Any]
    why: tuple[str, ...] = ()
    settled: bool = True
    unsure: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "settings": dict(self.settings), "why": list(self.why)}


def candidates(run: Run, ema: float, rate: float) -> Iterator[Candidate]:
    """From the best to the smallest. `ema`: run_config_ema. `rate`: run_config_lr, 0 where the user wrote it."""

    def made(name: str, profile: str, one: Run) -> Candidate:
        settings: dict[str, Any] = {
            "training_profile": profile,
            "run_config_ema": ema if one.ema_copy else 0.0,
            "run_config_optimizer": one.optimizer,
            "run_config_cpu_offload": one.offload,
        }
        if profile == "lora" and rate == FULL_RATE:
            settings["run_config_lr"] = LORA_RATE
        if one.ranks == run.ranks:
            return Candidate(name, settings, one)
        fewer = {"run_config_processes": one.ranks, "run_config_num_shard": 0, "run_config_num_replicate": 0}
        return Candidate(f"{name} on {one.ranks} of {run.ranks} GPUs", {**settings, **fewer}, one)

    full = replace(run.full(), ema_copy=ema > 0)
    bare = replace(full, ema_copy=False, optimizer=fused(run))
    lora, frozen = run.adapted(), run.frozen(ema_copy=False)
    if not (run.offload and run.optimizer == "adamw_8bit"):  # refused: no kernels for the host
        yield made("full", "full", full)
        yield made("full without an EMA copy", "full", bare)
    if not run.offload:
        yield made("full with an optimizer in 8 bits", "full", replace(bare, optimizer="adamw_8bit"))
        yield made("lora", "lora", lora)
    for ranks in range(run.ranks, 0, -1):
        shards = run.shards if ranks == run.ranks else 0
        yield made("lora, streamed", "lora", replace(lora, offload=True, ranks=ranks, shards=shards))
    if not run.offload:
        yield made("frozen", "frozen", frozen)
    if run.nodes == 1:
        yield made("frozen, streamed", "frozen", replace(frozen, offload=True, ranks=1, shards=0))


def choose(
    hosts: Sequence[tuple[Run, Node]],
    ema: float,
    rate: float,
    suits: Callable[[Candidate], bool] = lambda one: True,
    reason: str = "",
    last: bool = True,
) -> Choice | None:
    """The first candidate that fits every host; the last one where none does, and then findings say what is short. None
    where none suits, or none fits and the `last` is not to be taken.

    `hosts`: one or more, of as many ranks each. `suits` leaves out what the run's checkpoints cannot go on with;
    `reason` says so.
    """
    lacking: list[str] = []
    settled = all(node.gpus > 0 or not run.gpu for run, node in hosts)
    rows = [each for each in zip(*(candidates(run, ema, rate) for run, _node in hosts)) if suits(each[0])]
    for each in rows:
        short = [_missing(one.run, node) for one, (_run, node) in zip(each, hosts) if not well(one.run, node)]
        if not short:
            return Choice(each[0].name, each[0].settings, (*filter(None, [reason]), *lacking), settled)
        if each[0].run.ranks == hosts[0][0].ranks:  # what it lacks on fewer GPUs says nothing more
            lacking.append(f"{each[0].name} needs {short[0]}")
    if not rows or not last:
        return None
    return Choice(rows[-1][0].name, rows[-1][0].settings, (reason or "nothing fits", *lacking), settled)


def _missing(run: Run, node: Node) -> str:
    host = judge_host(run, node)
    if run.gpu and node.gpus and run.ranks > node.gpus:
        return f"{run.ranks} GPUs of {node.gpus}"
    if not (run.gpu and node.gpus) or host.state == "short":
        return f"{amount(host.floor, 'B')} of {amount(host.have, 'B')} of host memory"
    gpu = judge_gpu(run, node)
    spare = f" with {ROOM * 100:.0f} % to spare" if gpu.need <= gpu.have else ""
    return f"{amount(gpu.need, 'B')} of {amount(gpu.have, 'B')} per GPU{spare}"
