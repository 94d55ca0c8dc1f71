"""What a host offers to be fetched: files of a checkpoint, a merged model, or an export, and the logs, with size and
SHA-256.

The host makes the offer as the account that owns the checkpoints: a link of that account leads to nothing of root's.
For the controller it is an answer like any other: `checked` lets through the names that the trainer writes, and sizes
that the model can have.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from ..core.errors import FleetError
from ..findings.finding import finding
from ..system import files
from ..system.digests import running
from ..trainer import checkpoint as checkpoints
from ..trainer.checkpoint import FORMS, Checkpoint
from . import digests, examined, exports, models, seal
from .seal import Place

LOGS = ("log.txt", "log.plain.txt", "losses.csv")
NEWEST = -1
STEPS = 10**7  # the trainer writes a step in seven digits
LOG_BYTES = 256 << 20  # of a log; a longer one is left out
SMALL = 1 << 30  # bytes; files that are no tensors have a few thousand
DIGEST = re.compile(r"[0-9a-f]{64}")
# What may be asked for, and its file in each form of a checkpoint; () is all that a start resumes from. `merged` is a
# model that was merged of adapters, and so is `ema` where there is one.
CHOICES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "ema": {"full": ("ema.safetensors",), "lora": FORMS["lora"]},
    "model": {"full": ("model.safetensors",), "lora": FORMS["lora"]},
    "checkpoint": {"full": (), "lora": ()},
    "merged": {},
    "export": {},
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
    """`step`: -1 when logs alone were asked for; `linked`: the files are the kept links; `sealed`: they have a seal;
    `merged`: they are a merged model; `export`: they are a model folder for use, by this name."""

    step: int = NEWEST
    linked: bool = False
    sealed: bool = False
    files: tuple[File, ...] = ()
    logs: tuple[File, ...] = ()
    left_out: tuple[str, ...] = ()  # logs that are too long
    merged: bool = False
    export: str = ""


def names_of_merged(weights_files: Sequence[str]) -> tuple[str, ...]:
    """Files of a merged model, by those of its base. The record comes last: a folder that has it is whole."""
    return (*dict.fromkeys(name for name in weights_files if files.stays_below(name)), models.RECORD)


def offer(
    place: Place,
    results: str,
    what: str,
    step: int = NEWEST,
    weights_files: Sequence[str] = (),
    fill: bool = True,
    kind: str = "auto",
) -> Offer:
    """On the host. Computes the digests that the seal lacks, which takes as long as reading the files. `fill`: writes
    them into the seal. `kind`: which weights of an export.

    Raises FleetError when there is no such checkpoint or merged model, or when it differs from its seal.
    """
    found_logs = {name: log for name in LOGS if (log := _log(results, name))}
    logs = tuple(log for log in found_logs.values() if log.size <= LOG_BYTES)
    left_out = tuple(name for name, log in found_logs.items() if log not in logs)
    if what == "logs":
        return Offer(logs=logs, left_out=left_out)
    if what == "export":
        return replace(_export(results, step, kind, weights_files, fill), logs=logs, left_out=left_out)
    merged = models.made_steps(results)
    if what == "merged":
        chosen = _chosen_merged(results, merged, step)
        return replace(_merged(results, chosen, weights_files, fill), logs=logs, left_out=left_out)
    found = _chosen(examined.look(place), what, step)
    if what == "ema" and found.form == "lora" and found.step in merged:
        return replace(_merged(results, found.step, weights_files, fill), logs=logs, left_out=left_out)
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
    """Of the named files: unlike examined.look it judges a checkpoint whose .pt files the trainer deleted, too."""
    sealed = manifest["files"]
    lacking = [f"{name} is not in the seal" for name in names if name not in sealed]
    return lacking or [
        f"{name} is not what was sealed"
        for name in names
        if seal.mark_of(f"{path}/{name}")["mark"] != sealed[name]["mark"]
    ]


def _file(folder: str, name: str, entry: Mapping[str, Any]) -> File:
    return File(name, int(entry["size"]), str(entry.get("sha256") or seal.sha256_of(f"{folder}/{name}")))


def _merged(results: str, step: int, weights_files: Sequence[str], fill: bool) -> Offer:
    """A merged model has no seal, so all of it is read."""
    folder = models.folder_of(results, step)
    made = models.made_in(folder)
    whole = {checkpoints.MODEL_FILES[0]: made.size} if made else {}
    sizes = {name: _plain_size(f"{folder}/{name}", fill) for name in names_of_merged(weights_files)}
    if flaws := [name for name, size in sizes.items() if size < 0 or size != whole.get(name, size)]:
        raise FleetError(
            "a merged model is not whole",
            variable="training_fetch_step",
            found=f"{folder}: {', '.join(flaws[:3])} is absent, no plain file, or cut",
            expected="plain files, all of weights_files, as the merge left them",
            remedy=f"move {folder} away, then merge again: playbooks/merge.yml -e training_merge_step={step}",
        )
    offered = tuple(File(name, size, seal.sha256_of(f"{folder}/{name}")) for name, size in sizes.items())
    return Offer(step, merged=True, files=offered)


def _export(results: str, step: int, kind: str, weights_files: Sequence[str], fill: bool) -> Offer:
    """The digests are those of its SHA256SUMS, so nothing is read here."""
    name = exports.chosen(results, step, kind)
    if not name:
        there = ", ".join(exports.exported(results)) or "no export"
        raise FleetError(
            "there is no such export",
            variable="training_fetch",
            found=f"{exports.exports_of(results)}: {there}",
            expected=f"an export of {'a' if step == NEWEST else 'the'} step{'' if step == NEWEST else f' {step}'}",
            remedy="make it first: playbooks/export.yml -e export_step=… -e export_weights=…",
        )
    folder = f"{exports.exports_of(results)}/{name}"
    sums = exports.sums_in(folder)
    sizes = {one: _plain_size(f"{folder}/{one}", fill) for one in exports.names_in(weights_files)}
    if flaws := [one for one, size in sizes.items() if size < 0 or one not in sums]:
        raise FleetError(
            "an export is not whole",
            variable="training_fetch_step",
            found=f"{folder}: {', '.join(flaws[:3])} is absent, no plain file, or not in {exports.SUMS}",
            expected="all of weights_files, as the export left them",
            remedy=f"export again: playbooks/export.yml -e export_step={int(name.split('-')[0])}",
        )
    offered = tuple(File(one, size, sums[one]) for one, size in sizes.items())
    return Offer(int(name.split("-")[0]), files=offered, export=name)


def _plain_size(path: str, fill: bool) -> int:
    """Bytes of a plain file, which its group may read from now on; -1 for what is absent, a link, or no file."""
    with suppress(OSError):
        if fill:
            files.let_group_read(path)
        source, size = files.open_plain(path, follow=False)
        source.close()
        return size
    return -1


def _chosen_merged(results: str, steps: Sequence[int], step: int) -> int:
    if steps and step in (NEWEST, *steps):
        return steps[-1] if step == NEWEST else step
    which = "" if step == NEWEST else f" -e training_merge_step={step}"
    raise FleetError(
        "there is no merged model" if step == NEWEST else f"step {step} is not merged",
        variable="training_fetch",
        found=f"{models.models_of(results)}: {', '.join(map(str, steps)) or 'no merged model'}",
        expected="a step whose adapters were merged into a whole model",
        remedy=f"merge it first (playbooks/merge.yml{which}), or fetch the adapters alone (-e training_fetch=model)",
    )


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


def _chosen(seen: examined.Seen, what: str, step: int) -> Checkpoint:
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


def checked(given: Offer, what: str, step: int, limit: int, weights_files: Sequence[str] = ()) -> Offer:
    """On the controller: the offer, if it was asked for. `limit`: bytes of a checkpoint at most, 0 for not known.

    Raises FleetError (HOST_ANSWER_MALFORMED).
    """
    expected_step = given.step == NEWEST if what == "logs" else 0 <= given.step < STEPS and step in (NEWEST, given.step)
    flaws = [] if expected_step else [f"step {given.step}"]
    names = [one.name for one in given.files]
    if not _fits(given, what, weights_files) or len(set(names)) != len(names):
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


def _fits(given: Offer, what: str, weights_files: Sequence[str]) -> bool:
    """Are these the files that were asked for?"""
    names = tuple(one.name for one in given.files)
    if given.merged:
        return what in ("ema", "merged") and names == names_of_merged(weights_files)
    if given.export or what == "export":
        own = exports.NAME.fullmatch(given.export)
        return bool(own and what == "export" and int(own[1]) == given.step) and names == exports.names_in(weights_files)
    if what in ("logs", "merged"):
        return what == "logs" and not names
    choices = [tuple(one) for one in CHOICES[what].values()]
    return bool(names) and (() in choices or names in choices) and all(map(checkpoints.is_of_a_save, names))
