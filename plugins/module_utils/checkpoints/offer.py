"""What a host offers to be fetched: files of a checkpoint and the logs, with size and SHA-256.

The host makes the offer as the account that owns the checkpoints: a link of that account leads to nothing of root's.
For the controller it is an answer like any other: `checked` lets through the names that the trainer writes, and sizes
that the model can have.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from ..core.errors import FleetError
from ..findings.finding import finding
from ..system import files
from ..system.digests import running
from ..trainer import checkpoint as checkpoints
from ..trainer.checkpoint import FORMS, Checkpoint
from . import digests, guard, seal
from .seal import Place

LOGS = ("log.txt", "log.plain.txt", "losses.csv")
NEWEST = -1
STEPS = 10**7  # the trainer writes a step in seven digits
LOG_BYTES = 256 << 20  # of a log; a longer one is left out
SMALL = 1 << 30  # bytes; files that are no tensors have a few thousand
DIGEST = re.compile(r"[0-9a-f]{64}")
# What may be asked for, and its file in each form of a checkpoint; () is all that a start resumes from.
CHOICES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "ema": {"full": ("ema.safetensors",), "lora": FORMS["lora"]},
    "model": {"full": ("model.safetensors",), "lora": FORMS["lora"]},
    "checkpoint": {"full": (), "lora": ()},
    "logs": {},
}


@dataclass(frozen=True)
class File:
    """A file to be fetched. `sha256`: of its first `size` bytes; a log grows meanwhile."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Offer:
    """`step`: -1 when logs alone were asked for; `linked`: the files are the kept links; `sealed`: they have a seal."""

    step: int = NEWEST
    linked: bool = False
    sealed: bool = False
    files: tuple[File, ...] = ()
    logs: tuple[File, ...] = ()
    left_out: tuple[str, ...] = ()  # logs that are too long


def offer(place: Place, results: str, what: str, step: int = NEWEST, fill: bool = True) -> Offer:
    """On the host. Computes the digests that the seal lacks, which takes as long as reading the files. `fill`: writes
    them into the seal.

    Raises FleetError when there is no such checkpoint, or when it differs from its seal.
    """
    found_logs = {name: log for name in LOGS if (log := _log(results, name))}
    logs = tuple(log for log in found_logs.values() if log.size <= LOG_BYTES)
    left_out = tuple(name for name, log in found_logs.items() if log not in logs)
    if what == "logs":
        return Offer(logs=logs, left_out=left_out)
    found = _chosen(guard.look(place), what, step)
    manifest = seal.read_manifest(place, found.step)
    names = CHOICES[what][found.form] or seal.names_of(found.path)
    if manifest is None:
        entries = {name: seal.mark_of(f"{found.path}/{name}") for name in names}
    else:
        if flaws := _flaws(found.path, manifest, names):
            raise _refused(found.step, f"{found.path}: {'; '.join(flaws[:3])}", "the sealed content")
        if fill:
            digests.fill(place, found.step, nullcontext(), lambda: False, lambda text: None, names)
        manifest = seal.read_manifest(place, found.step) or manifest
        entries = {name: manifest["files"][name] for name in names}
    for name in entries if fill else ():  # of a save that was sealed by an earlier version
        with suppress(OSError):
            files.let_group_read(f"{found.path}/{name}")
    offered = tuple(_file(found.path, name, entry) for name, entry in entries.items())
    return Offer(found.step, found.path == place.links(found.step), manifest is not None, offered, logs, left_out)


def _flaws(path: str, manifest: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Of the named files: unlike guard.look it judges a checkpoint whose .pt files the trainer deleted, too."""
    sealed = manifest["files"]
    lacking = [f"{name} is not in the seal" for name in names if name not in sealed]
    return lacking or [
        f"{name} is not what was sealed"
        for name in names
        if seal.mark_of(f"{path}/{name}")["mark"] != sealed[name]["mark"]
    ]


def _file(folder: str, name: str, entry: Mapping[str, Any]) -> File:
    return File(name, int(entry["size"]), str(entry.get("sha256") or seal.sha256_of(f"{folder}/{name}")))


def _log(results: str, name: str) -> File | None:
    """The log as it is now; None for what is absent, or a link. Of one that is longer than LOG_BYTES no digest."""
    with suppress(OSError):
        source, size = files.open_plain(os.path.join(results, name), follow=False)
        with source:
            if size > LOG_BYTES:
                return File(name, size, "")
            digest = running()
            done = 0
            while block := source.read(min(files.BLOCK, size - done)):
                digest.update(block)
                done += len(block)
        return File(name, done, digest.hexdigest())
    return None


def _chosen(seen: guard.Seen, what: str, step: int) -> Checkpoint:
    """The checkpoint of this step. The model alone outlives the trainer's deletion of older .pt files."""
    alone = [one for one in seen.found.checkpoints if what != "checkpoint" and one.kind == "model"]
    every = {**{one.step: one for one in alone}, **seen.restorable, **seen.whole}
    if step == NEWEST and every:
        return every[max(every)]
    if step in every:
        return every[step]
    kinds = ", ".join(f"{one.step} {one.kind}" for one in seen.found.checkpoints) or "no checkpoint"
    can = ", ".join(map(str, sorted(every))) or "none yet: the first save makes one"
    raise _refused(step, f"the folder holds {kinds}", f"a whole checkpoint ({can})")


def _refused(step: int, found: str, expected: str) -> FleetError:
    what = "there is no whole checkpoint" if step == NEWEST else f"step {step} cannot be fetched"
    remedy = "wait for the next save, name another step (-e training_fetch_step=…), or fetch -e training_fetch=logs"
    return FleetError(what, variable="training_fetch_step", found=found, expected=expected, remedy=remedy)


def checked(given: Offer, what: str, step: int, limit: int) -> Offer:
    """On the controller: the offer, if it was asked for. `limit`: bytes of a checkpoint at most, 0 for not known.

    Raises FleetError (HOST_ANSWER_MALFORMED).
    """
    expected_step = given.step == NEWEST if what == "logs" else 0 <= given.step < STEPS and step in (NEWEST, given.step)
    flaws = [] if expected_step else [f"step {given.step}"]
    names = [one.name for one in given.files]
    choices = [tuple(one) for one in CHOICES[what].values()]
    fits = not names if what == "logs" else bool(names) and (() in choices or tuple(names) in choices)
    if not fits or not all(map(checkpoints.is_of_a_save, names)) or len(set(names)) != len(names):
        flaws.append(f"the files {', '.join(names[:5])}")
    logs = [one.name for one in given.logs]
    if not {*logs, *given.left_out} <= set(LOGS) or len(set(logs)) != len(logs) or len(given.left_out) > len(LOGS):
        flaws.append(f"the logs {', '.join(logs[:5])}")
    flaws += [f"{one.name} of {one.size} bytes" for one in given.logs if one.size > LOG_BYTES]
    for one in (*given.files, *given.logs):
        small = not one.name.endswith((".safetensors", ".pt")) or one.name in checkpoints.STATE_FILES
        if not DIGEST.fullmatch(one.sha256) or not 0 <= one.size <= (SMALL if small else limit or 1 << 62):
            flaws.append(f"{one.name} of {one.size} bytes")
    if limit and sum(one.size for one in given.files) > limit:
        flaws.append(f"{sum(one.size for one in given.files)} bytes in all")
    if not flaws:
        return given
    expected = "files that the trainer writes, as large as this model's at most"
    raise FleetError.of(finding("HOST_ANSWER_MALFORMED", found=f"the offer: {'; '.join(flaws[:3])}", expected=expected))
