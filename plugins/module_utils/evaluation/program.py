"""An evaluation on its host, from the spec to the rows on the disk. It reads files, and starts a process for each GPU.

Each process has rows of its own and appends each when it is there, so a kill costs one row, and no process waits for
another. One evaluation at a time writes to a folder: whoever comes second waits, and then finds the rows done.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ..core import wire
from ..core.errors import FleetError, raise_for
from ..core.progress import Progress
from ..core.version import VERSION
from ..system import files, folders, payload, programs
from . import child, choice, folder, rows, subjects
from .child import Job, Said, Task
from .folder import Place
from .found import look
from .spec import Spec
from .subjects import Subject
from .wire import SCHEMA, About

RUN = ".run"  # of the processes of the evaluation that runs
CHILD = "evaluation/child.py"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # torch's, and numpy's
LOOK = 0.2  # seconds between two looks at the rows
LAST_SECONDS = 20.0  # seconds for a process to end by itself once another has failed


@dataclass(frozen=True)
class Part:
    """A subject with what is written about it, and the rows that are missing."""

    subject: Subject
    place: Place
    about: About
    missing: tuple[int, ...]


def run(
    spec: Mapping[str, Any] | Spec, progress: Progress, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Evaluates; returns {"changed", "rows", "lettered", "subjects": {name: rows}}. Raises FleetError, OSError.

    `spec`: a Spec, or its plain data. It goes on where one of the same weights, data, code and settings ended.
    """
    given = spec if isinstance(spec, Spec) else wire.from_dict(Spec, dict(spec))
    folders.make(given.folder)

    def waits() -> None:
        progress(0, 0, "rows", "waits for another evaluation of this run")
        sleep(LOOK)

    with files.in_turn(f"{given.folder}/.lock", waits):
        return _run(given, progress, sleep)


def _run(spec: Spec, progress: Progress, sleep: Callable[[float], None]) -> dict[str, Any]:
    progress(0, 0, "rows", "reads the test rows")
    digest = rows.digest(spec.parquet)
    about = rows.write(spec.folder, rows.read(spec.parquet, spec.rows), digest)
    if spec.mode != "loss" and not about.lettered:
        raise FleetError.of(choice.no_letters(spec, about.rows))
    chosen, findings = choice.choose(look(spec), spec)
    raise_for(findings)
    parts = [_part(spec, one, digest, about.rows) for one in chosen]
    missing = sum(len(part.missing) for part in parts)
    if missing:
        _compute(spec, parts, progress, sleep)
    for part in parts:
        _refuse_failed(part)
    return {
        "changed": bool(missing),
        "rows": about.rows,
        "lettered": about.lettered,
        "subjects": {part.subject.name: len(folder.done(part.place)) for part in parts},
    }


def _part(spec: Spec, subject: Subject, data: str, wanted: int) -> Part:
    place = Place(spec.folder, subject.name, spec.mode)
    before = folder.about_in(place)
    about = About(
        schema=SCHEMA,
        mode=spec.mode,
        subject=subject.name,
        step=subject.step,
        weights_file=os.path.basename(subject.weights),
        weights_digest=subjects.digest(subject),
        data_digest=data,
        rows=wanted,
        code_commit=spec.commit,
        seed=spec.seed,
        settings=spec.settings(),
        version=VERSION,
        started=_now(),
    )
    if before and before.same_work == about.same_work:
        if before.ended and before.rows == wanted and not set(range(wanted)) - folder.done(place):
            return Part(subject, place, before, ())
        about = replace(about, device=before.device, peak_bytes=before.peak_bytes)
    done = folder.begin(place, about)
    return Part(subject, place, about, tuple(row for row in range(wanted) if row not in done))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _compute(spec: Spec, parts: Sequence[Part], progress: Progress, sleep: Callable[[float], None]) -> None:
    own = f"{spec.folder}/{RUN}"
    folders.remove_tree(own)
    folders.make(own)
    files.write(f"{own}/payload.zip", payload.payload(CHILD), durable=False)
    processes = [_start(spec, parts, own, number, max(1, spec.gpus)) for number in range(max(1, spec.gpus))]
    try:
        _wait(parts, processes, progress, sleep)
        said = [_said(own, number, process) for number, process in enumerate(processes)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for part in parts:
        peaks = [one.peaks[part.subject.name] for one in said if part.subject.name in one.peaks]
        peak = max([*peaks, part.about.peak_bytes or 0]) or None
        device = next((one.device for one in said if one.device), part.about.device)
        folder.finish(part.place, replace(part.about, ended=_now(), device=device, peak_bytes=peak))
    folders.remove_tree(own)


def _start(spec: Spec, parts: Sequence[Part], own: str, number: int, processes: int) -> programs.Process[bytes]:
    """The process of GPU `number`, with each so many-th missing row."""
    tasks = tuple(Task(part.subject, part.missing[number::processes]) for part in parts)
    job = f"{own}/job-{number}.json"
    files.save(job, wire.to_dict(Job(spec, tasks)), durable=False)
    argv = (sys.executable, f"{own}/payload.zip", job, str(number))
    how = {"stdin": programs.PIPED, "stdout": None, "stderr": None, "cwd": spec.code}
    return programs.start(*argv, env=_environment(spec, number), **how)


def _environment(spec: Spec, number: int) -> dict[str, str]:
    """One GPU alone is seen, the processes share half of the cores, and the checkout stays clean."""
    visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    shown = (visible[number] if number < len(visible) else str(number)) if spec.gpus else ""
    more = {"PYTHONDONTWRITEBYTECODE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if spec.gpus:
        more["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    # As many threads as cores in several processes wait for each other: a CPU was seen to be four times as slow.
    threads = str(max(1, (os.cpu_count() or 1) // (2 * max(1, spec.gpus))))
    more |= dict.fromkeys(THREADS, threads)
    return programs.environment(**more, CUDA_VISIBLE_DEVICES=shown)


def _wait(
    parts: Sequence[Part],
    processes: Sequence[programs.Process[bytes]],
    progress: Progress,
    sleep: Callable[[float], None],
) -> None:
    """Until all have ended, or LAST_SECONDS after one has failed."""
    total = sum(part.about.rows for part in parts)
    failed_at: float | None = None
    while any(process.poll() is None for process in processes):
        done = {part.subject.name: len(folder.done(part.place)) for part in parts}
        now = next((part.subject.name for part in parts if done[part.subject.name] < part.about.rows), "")
        progress(sum(done.values()), total, "rows", f"evaluates {now}" if now else "ends")
        if failed_at is None and any(process.poll() for process in processes):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > LAST_SECONDS:
            return
        sleep(LOOK)
    progress(total, total, "rows", "ends")


def _said(own: str, number: int, process: programs.Process[bytes]) -> Said:
    """What a process left. Raises FleetError for one that failed."""
    said = wire.from_record(Said, files.load(child.said_path(f"{own}/job-{number}.json", number)), Said())
    if said.error:
        raise FleetError.from_dict(said.error)
    if process.poll():
        code = process.returncode
        found = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise FleetError(
            "a process of the evaluation was killed" if code < 0 else "a process of the evaluation failed",
            found=found,
            remedy="start it again: it goes on at the next row; the host's memory may be too small",
        )
    return said


def _refuse_failed(part: Part) -> None:
    """A few rows may fail; all of them are no evaluation."""
    found = folder.rows_in(part.place)
    errors = [error for one in found if (error := getattr(one, "error", None))]
    if found and len(errors) == len(found):
        raise FleetError(f"no row of {part.subject.name} could be answered", found=str(errors[0]))
