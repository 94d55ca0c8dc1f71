"""One process of an evaluation: one GPU, or none, and rows of its own. It waits for no other process.

python payload.zip JOB NUMBER, in the folder of the deployed code. Its standard input ends when its parent does.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ..core import wire
from ..core.errors import FleetError
from ..core.progress import log
from ..system import files, limits
from ..trainer import safetensors
from . import deployed, folder, memory, rows
from .answers import Answers
from .folder import Place
from .loss import Losses
from .spec import Spec
from .subjects import Subject
from .wire import LOSS

SLACK = 1.02  # of what a GPU says that it has free


@dataclass(frozen=True)
class Task:
    """`rows`: those of one subject that this process computes, by their numbers."""

    subject: Subject
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Job:
    spec: Spec
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Said:
    """What a process leaves for its parent. `peaks`: bytes by the subject's name. `error`: of a FleetError."""

    device: str = ""
    peaks: Mapping[str, int] = field(default_factory=dict)
    error: Mapping[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    path, number = arguments[0], int(arguments[1])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        job = wire.from_dict(Job, files.load(path, limits.FILE_BYTES))
        said = work(job)
    except FleetError as error:
        said = Said(error=error.as_dict())
    except Exception as error:  # the parent tells it
        traceback.print_exc()
        said = Said(error=FleetError(f"{type(error).__name__}: {str(error)[:500]}").as_dict())
    files.save(said_path(path, number), wire.to_dict(said))
    sys.stdout.flush()
    return 1 if said.error else 0


def said_path(job: str, number: int) -> str:
    return f"{job}.said-{number}"


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(3)


def work(job: Job) -> Said:
    spec = job.spec
    deployed.prepare(spec.code)
    values = rows.read(spec.parquet, spec.rows)
    peaks = {}
    for task in job.tasks:
        if task.rows:
            peaks[task.subject.name] = _subject(spec, task, values)
    return Said(_device(), {name: peak for name, peak in peaks.items() if peak})


def _subject(spec: Spec, task: Task, values: Sequence[Mapping[str, Any]]) -> int:
    """Computes the rows of one subject; returns the most bytes of the GPU."""
    torch, cuda = import_module("torch"), deployed.device() == "cuda"
    place = Place(spec.folder, task.subject.name, spec.mode)
    streamed = cuda and not _fits(spec, torch)
    log(f"loads {task.subject.weights}{', one layer at a time' if streamed else ''}")
    model = deployed.load(spec, task.subject, streamed)
    computes = Losses(spec, model) if spec.mode == LOSS else Answers(spec, model, place)
    for row in task.rows:
        folder.append(place.rows, computes.of(row, values[row]))
    peak = int(torch.cuda.max_memory_allocated()) if cuda else 0
    del model, computes
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return peak


def _fits(spec: Spec, torch: Any) -> bool:
    """With all weights on the GPU? Raises FleetError where it cannot be done at all."""
    need = memory.memory(
        spec.mode,
        safetensors.from_file(f"{spec.base}/{spec.base_file}"),
        os.path.getsize(f"{spec.base}/ae.safetensors"),
    )
    free, _total = torch.cuda.mem_get_info()
    if need.resident <= free * SLACK:
        return True
    if need.streamed is None or need.streamed > free * SLACK:
        raise memory.too_small(spec.mode, need, free)
    return False


def _device() -> str:
    torch = import_module("torch")
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
