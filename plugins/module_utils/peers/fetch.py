"""Copies a checkpoint of the run's first node: fetch, verify the content, rename.

An interrupted download continues. This code deletes only copies that it fetched.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from ..checkpoints import examined
from ..checkpoints import rotation as checkpoint_rotation
from ..checkpoints import seal as checkpoint_seal
from ..checkpoints.errors import PeersError
from ..checkpoints.seal import Place, Say
from ..core.errors import FleetError
from ..core.progress import amount
from ..system import files, folders
from ..system.digests import running
from .announced import Announced, File

BLOCK = 1 << 22
REPORT_EVERY = 15.0  # seconds between two words of a download
SMALL = 1 << 16  # bytes of the record of what was fetched
TRIES = 3  # of one file that comes whole, but not as it was sent


class Source(Protocol):
    """The part of the first node's client that this module uses."""

    def blocks(self, path: str, begin: int, size: int) -> Iterator[bytes]: ...
    def ask(self, path: str) -> dict[str, Any]: ...


def same(folder: str, files: Iterable[File]) -> bool:
    """True when a folder holds these files, by size and by the mark of both ends."""
    return all(_alike(f"{folder}/{one.name}", one) for one in files)


def _alike(path: str, file: File) -> bool:
    try:
        found = checkpoint_seal.mark_of(path)
    except OSError:
        return False
    return bool(found["size"] == file.size and found["mark"] == file.mark)


def has(place: Place, offered: Announced) -> bool:
    """True when this node has the announced checkpoint whole, in the trainer's folder or as links."""
    if offered.step is None:
        return True
    seen = examined.look(place)
    found = seen.whole.get(offered.step) or seen.restorable.get(offered.step)
    return found is not None and same(found.path, offered.files)


def fetch(place: Place, offered: Announced, source: Source, say: Say, ended: Callable[[float], bool]) -> None:
    """Copy the checkpoint into the trainer's folder. Raises FleetError for a full disk and for wrong content."""
    step, wanted = int(offered.step or 0), offered.files
    folder, part = place.folder(step), place.part("fetch", step)
    folders.make(part)
    missing = [one for one in wanted if not _alike(f"{part}/{one.name}", one)]
    _check_space(part, missing)
    say(f"fetches checkpoint {step}: {len(missing)} of {len(wanted)} files")
    for one in missing:
        _file(part, step, one, source, say, ended)
    files.sync_folder(part)
    for old in (place.links(step), folder):  # of another save of this step, or cut
        if os.path.isdir(old) and not os.listdir(old):
            folders.remove_empty(old)
        elif os.path.lexists(old):
            say(f"moved {old} to {checkpoint_seal.out_of_the_way(place, old)}: it differs from the first node's")
    note_fetched(place, [*fetched(place), step])
    folders.make(place.checkpoints)
    files.move(part, folder)
    files.sync_folder(place.checkpoints)


def _check_space(part: str, files: Sequence[File]) -> None:
    status = os.statvfs(part)
    free, need = status.f_bavail * status.f_frsize, sum(one.size for one in files)
    have = sum(os.path.getsize(f"{part}/{name}") for name in os.listdir(part) if name.endswith(".part"))
    if need - have > free:
        raise FleetError(
            "the checkpoint of the first node does not fit on this node's disk",
            variable="training_checkpoint_dir",
            found=f"{amount(free, 'B')} free",
            expected=amount(need - have, "B"),
        )


def _file(part: str, step: int, file: File, source: Source, say: Say, ended: Callable[[float], bool]) -> None:
    """One file, whole and verified, under its name. Raises FleetError when what comes is not what was offered."""
    name = file.name
    path, address = f"{part}/{name}.part", f"{step}/{quote(name)}"
    for _again in range(TRIES):
        found = _gain(path, file.size, f"/file/{address}", source, say)
        if found == _wanted(f"/sha256/{address}", source, name, say, ended):
            files.put(path, f"{part}/{name}", 0o644)
            return
        files.remove(path)
        say(f"{name} arrived damaged and is fetched again")
    raise PeersError(f"{name} of checkpoint {step} arrives damaged", found=f"{TRIES} tries")


def _gain(path: str, size: int, address: str, source: Source, say: Say) -> str:
    """Append what is missing of a file; returns the digest of all of it.

    Raises UnreachableError when the connection ends; what came stays.
    """
    digest = running()
    with files.open_part(path) as target:
        if target.tell() > size:
            target.truncate(0)
        target.seek(0)
        while block := target.read(BLOCK):
            digest.update(block)
        begin, reported, since = target.tell(), time.monotonic(), time.monotonic()
        for block in source.blocks(address, begin, size) if begin < size else ():
            target.write(block)
            digest.update(block)
            now = time.monotonic()
            if now - reported >= REPORT_EVERY:
                reported, gained = now, target.tell() - begin
                rate = f"{amount(gained / (now - since), 'B')}/s"
                say(f"fetches {os.path.basename(path)[:-5]}: {100 * target.tell() // size} %, {rate}")
    return digest.hexdigest()


def _wanted(address: str, source: Source, name: str, say: Say, ended: Callable[[float], bool]) -> str:
    """The first node's digest of a file; it may have to compute it first."""
    reported = time.monotonic()
    while not (found := str(source.ask(address).get("sha256", ""))):
        if ended(0.2):
            raise FleetError("the start was stopped", found=f"waited for the digest of {name}")
        if time.monotonic() - reported >= REPORT_EVERY:
            reported = time.monotonic()
            say(f"waits for the first node's digest of {name}")
    return found


def fetched(place: Place) -> list[int]:
    """Steps that were fetched to this node, rising."""
    try:
        return sorted({int(step) for step in json.loads(files.text(f"{place.kept}/fetched.json", SMALL))})
    except (ValueError, TypeError, RecursionError):
        return []


def note_fetched(place: Place, steps: Iterable[int]) -> None:
    files.save(f"{place.kept}/fetched.json", sorted(set(steps)))


def forget_older(place: Place, step: int | None, say: Say) -> None:
    """Remove copies of earlier starts except the newest; the first node has them."""
    steps = [one for one in fetched(place) if step is not None and one < step]
    for old in steps[:-1]:
        checkpoint_rotation.drop(place, old)
        say(f"the copy of checkpoint {old} was removed from this node")
    if steps[:-1]:
        note_fetched(place, [one for one in fetched(place) if one not in steps[:-1]])
