"""Which saves stay ready to resume (the newest N whole ones and every Mth), and the disk space of the next save."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from ..core.progress import amount
from ..system import files, folders
from ..trainer import checkpoint as checkpoints
from . import seal
from .seal import Place, Say

AT_LEAST = 2  # at least two, because the next save may damage one


def kept_of(steps: Sequence[int], keep_last: int, keep_every: int) -> set[int]:
    """The steps to keep: the newest max(keep_last, 2) and every multiple of keep_every (0: none). `steps` rise."""
    newest = set(steps[-max(keep_last, AT_LEAST) :])
    return newest | {step for step in steps if keep_every > 0 and step % keep_every == 0}


def rotate(place: Place, newest: int, keep_last: int, keep_every: int, say: Say) -> None:
    """After `newest` was sealed: remove the links of older steps that are not kept. Links above `newest` stay. With
    keep_last > 0 also remove the trainer's older folders.
    """
    _clear_old(place)
    steps = [step for step in seal.kept_steps(place) if step <= newest]
    if newest not in steps:
        return  # without links of its own it removes nothing
    for step in sorted(set(steps) - kept_of(steps, keep_last, keep_every)):
        _drop_links(place, step)
        say(f"checkpoint {step} is no longer kept: its model can be used, but no training can resume from it")
    if keep_last > 0:
        _drop_folders(place, kept_of(steps, keep_last, 0), keep_every, say)


def _drop_links(place: Place, step: int) -> None:
    files.remove(place.manifest(step))
    files.move(place.links(step), place.part("old", step))
    _clear_old(place)


def drop(place: Place, step: int) -> None:
    """Remove links and folder of a step that this code fetched."""
    if os.path.isdir(place.links(step)):
        _drop_links(place, step)
    if os.path.isdir(place.folder(step)):
        _empty(place.folder(step))


def _clear_old(place: Place) -> None:
    names = os.listdir(place.kept) if os.path.isdir(place.kept) else []
    for folder in (f"{place.kept}/{name}" for name in names if name.startswith(".old-")):
        _empty(folder)


def _empty(folder: str) -> None:
    """Remove the trainer's files from a folder, and the folder if it is then empty."""
    files.remove(*(f"{folder}/{name}" for name in seal.names_of(folder)))
    with contextlib.suppress(OSError):  # a person's own file in it stays
        folders.remove_empty(folder)


def _drop_folders(place: Place, newest: set[int], keep_every: int, say: Say) -> None:
    for one in checkpoints.survey(place.checkpoints).checkpoints:
        stays = one.step >= min(newest) or (keep_every > 0 and one.step % keep_every == 0)
        if not stays and one.kind != "incomplete":
            _remove(place, one.path)
            say(f"checkpoint {one.step} was removed: training_keep_last asks for it")


def _remove(place: Place, folder: str) -> None:
    """Remove the trainer's files. A folder without others is renamed first: half of it would look like a cut save."""
    old = f"{place.kept}/.old-folder-{os.path.basename(folder)}"
    if set(os.listdir(folder)) == set(seal.names_of(folder)) and not os.path.lexists(old):
        files.move(folder, old)
        folder = old
    _empty(folder)


def low_disk(place: Place) -> str:
    """A warning when the next save would not fit, else "". The last save gives the size."""
    size, step = _last_size(place)
    if not size:
        return ""
    try:
        status = os.statvfs(place.checkpoints)
    except OSError as error:
        return f"the free space of {place.checkpoints} is unknown: {error.strerror}"
    free = status.f_bavail * status.f_frsize
    if free >= size + (size >> 5):
        return ""
    old = _quarantine_bytes(place)
    quarantined = f"; {amount(old, 'B')} lie in {place.quarantine}; remove what you do not need" if old else ""
    needs = f"the next save needs {amount(size, 'B')} (as step {step} did)"
    return f"{needs}, {place.checkpoints} has {amount(free, 'B')} free{quarantined}"


def _last_size(place: Place) -> tuple[int, int]:
    for step in reversed(seal.kept_steps(place)):
        manifest = seal.read_manifest(place, step)
        if manifest:
            return int(manifest["size"]), step
    whole = checkpoints.survey(place.checkpoints).newest_whole
    return (whole.size, whole.step) if whole else (0, 0)


def _quarantine_bytes(place: Place) -> int:
    """Bytes that emptying the quarantine would free: files whose only names lie in it."""
    total = 0
    for folder, _folders, names in folders.walk(place.quarantine):
        for name in names:
            with contextlib.suppress(OSError):
                info = os.lstat(f"{folder}/{name}")
                total += info.st_size if info.st_nlink == 1 else 0
    return total
