"""Digests of a sealed save, computed while the training runs: hundreds of gigabytes take minutes.

They verify copies to other nodes and restored checkpoints.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from ..core.progress import amount
from . import seal
from .seal import Place, Say

NICE = 19


def fill(
    place: Place,
    step: int,
    lock: AbstractContextManager[Any],
    stop: Callable[[], bool],
    say: Say,
    only: Collection[str] = (),
) -> None:
    """Write the sha256 of each file of a sealed step (or of `only` these) into its manifest. `lock` guards them."""
    begin, done = time.monotonic(), 0
    manifest = seal.read_manifest(place, step)
    for name, entry in (manifest or {"files": {}})["files"].items():
        if entry.get("sha256") or (only and name not in only):
            continue
        path = f"{place.links(step) if manifest and manifest.get('links') else place.folder(step)}/{name}"
        try:
            found = seal.sha256_of(path, stop)
        except OSError:
            return  # rotated away, or moved: another start seals what is left
        with lock:
            if not found or not _note(place, step, name, entry, found):
                return
        done += int(entry["size"])
    if done:
        seconds = time.monotonic() - begin
        say(f"step {step}: the content of {amount(done, 'B')} is recorded, after {seconds:.0f} s")


def step_back() -> None:
    """Give the calling thread the lowest priority."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _note(place: Place, step: int, name: str, entry: Mapping[str, Any], digest: str) -> bool:
    """Update the present manifest. False when it describes another save by now."""
    manifest = seal.read_manifest(place, step)
    if manifest is None or manifest["files"].get(name) != entry:
        return False
    manifest["files"][name]["sha256"] = digest
    seal.write_manifest(place, manifest)
    return True


def flaws(path: str, manifest: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Files whose content differs from the recorded digests. Reads all content."""
    found = []
    for name, entry in (manifest or {"files": {}})["files"].items():
        if entry.get("sha256") and seal.sha256_of(f"{path}/{name}") != entry["sha256"]:
            found.append(f"{name} is not what was sealed")
    return tuple(found)
