"""The user's files on the controller: their digests and inspections, cached between runs and hosts.

Runs on the controller only. What was read once is kept under the user's cache folder, by content, so that eight hosts
and the next converge cost nothing; the folder can be removed at any time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from ...core import wire
from ...core.errors import FleetError
from ...core.settings import Settings, named
from ...findings.finding import finding
from ...system import digests, files, folders
from ...trainer.tokens import counter
from . import record, rows
from .decide import wanted_digest
from .inspect import inspect
from .inspection import Inspection
from .originals import check_digest
from .record import Recorded

Resolve = Callable[[str], str]  # a path as the user wrote it to one that can be opened


def facts(settings: Settings, resolve: Resolve = os.path.expanduser) -> dict[str, Recorded]:
    """Path, sha256 and size (bytes) of the files by kind; empty for other sources than the controller.

    Raises FleetError when a file is absent or has another digest than the user gave.
    """
    if settings["dataset_source"] != "controller":
        return {}
    found = {}
    for kind in record.KINDS:
        place = str(named(settings, f"dataset_{kind}"))
        if not place:
            continue
        path = Path(resolve(place))
        if not os.path.isfile(path):
            missing = finding(
                "DATASET_MISSING",
                variable=f"dataset_{kind}",
                found=f"no file {path} on the controller",
                expected="a parquet file",
                remedy="correct the path; a relative one starts at the playbook's folder",
            )
            raise FleetError.of(missing)
        digest = _digest(path)
        check_digest(digest, wanted_digest(settings, kind), f"dataset_{kind}_sha256", str(path))
        found[kind] = Recorded(str(path), digest, path.stat().st_size)
    return found


def digests_of(found: Mapping[str, Recorded]) -> dict[str, str]:
    """The files as variables that a user could set."""
    return {f"dataset_{kind}_sha256": file.sha256 for kind, file in found.items()}


def with_digests(settings: Settings, found: Mapping[str, Recorded]) -> Settings:
    """The settings with these digests."""
    return cast("Settings", {**settings, **digests_of(found)})


def inspected(found: Mapping[str, Recorded], tokenizer: str = "") -> Inspection | None:
    """The inspection of these files; None without pyarrow and Pillow here (the host then reads them)."""
    if "train" not in found or not all(find_spec(name) for name in ("pyarrow", "PIL")):
        return None
    train, test = found["train"], found.get("test", Recorded())
    tokenizer = tokenizer if counter(tokenizer) else ""
    key = [train.path, train.sha256, test.path, test.sha256, rows.RULES, tokenizer]
    name = digests.sha256(json.dumps(key))

    def look() -> Inspection:
        return inspect(train.path, test.path, tokenizer=tokenizer)

    kept = _remembered(f"inspection-{name}", lambda: dict(wire.to_dict(look())))
    return wire.from_record(Inspection, kept) or look()


def _digest(path: Path) -> str:
    now = json.dumps([str(path.resolve()), record.identity(path)])
    kept = _remembered(f"digest-{digests.sha256(now)}", lambda: {"sha256": digests.of_file(path)})
    return str(kept["sha256"])


def _remembered(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Computed once, even when tasks of many hosts ask at the same time; without a writable cache each time."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "canvas-fleet"
    try:
        folders.make(folder)
        with files.locked(folder / f"{name}.lock"):
            kept = files.load(folder / f"{name}.json")
            if not kept:
                kept = make()
                files.save(folder / f"{name}.json", kept)
        files.remove(folder / f"{name}.lock")
        return kept
    except PermissionError:
        return make()
