"""Why a training stands still, from what can be seen of it from outside. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.progress import duration
from ..trainer.failures import Failure
from .tree import Process, stopped

MANY = 1000  # lines of a loader that begins anew without a step between them

STOOD = {
    "load": "the weights were not loaded",
    "first_step": "the first steps were not made",
    "save": "the save did not end",
    "end": "the trainer did not end after its last step",
    "steps": "no step was made",
}


def diagnose(
    stage: str,
    limit: float,
    tree: Sequence[Process],
    repeats: int,
    last: Sequence[str],
    peers: Sequence[str] = (),
    ranks: Mapping[int, int | None] | None = None,
) -> Failure:
    """`limit` s passed without a sign of life; `repeats`: lines since the last one in which a loader began anew;
    `peers`: other hosts of the run that do not answer; `ranks`: those of stopped processes, by process."""
    stood = f"{STOOD[stage]} within {duration(limit)}"
    held = stopped(tree)
    if held:
        of = {one.pid: (ranks or {}).get(one.pid) for one in held}
        who = ", ".join(f"{one.name} ({_known(one.pid, of[one.pid])})" for one in held[:4])
        line = f"{stood}: {who} is stopped by a signal"
        only = next(iter(of.values())) if len(set(of.values())) == 1 else None
        return Failure("HANG_WORKER_STOPPED", line, tuple(last), only)
    if repeats >= MANY:
        line = f"{stood}, while a loader began its data {repeats:,} times: some worker has no usable data"
        return Failure("HANG_STARVED", line, tuple(last))
    if peers:
        return Failure("HANG_PEER_LOST", f"{stood}, and {', '.join(peers)} does not answer", tuple(last))
    if not tree:
        return Failure("HANG_NO_STEP", f"{stood}: no process of the trainer is left", tuple(last))
    waits = sum(one.state == "D" for one in tree)
    line = f"; {waits} of its {len(tree)} processes wait for a disk or a driver" if waits else ""
    return Failure("HANG_NO_STEP", f"{stood}{line}", tuple(last))


def _known(pid: int, rank: int | None) -> str:
    return f"process {pid}" if rank is None else f"rank {rank}, process {pid}"
