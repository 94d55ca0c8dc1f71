"""Leftovers: fetched files of the model, and a partial download. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...core.leftover import Leftover
from ...core.settings import Settings
from . import observe, record

RECORDS: tuple[str, ...] = ("weights",)


def leftovers(settings: Settings) -> Iterator[Leftover]:
    folder = Path(str(settings["weights_dir"]))
    for name, entry in sorted(record.read(settings).files.items()):
        path = folder / name
        now = observe.stamp(path)
        if now is None:
            continue
        if entry.origin != "fetched":
            yield Leftover("weights", str(path), "it was there before canvas-fleet")
        elif not observe.known(vars(entry), now):
            yield Leftover("weights", str(path), "changed since it was fetched", "edits")
        else:
            yield Leftover("weights", str(path), "hours of download", "weights")
    if (folder / observe.STAGING).is_dir():
        yield Leftover("weights", str(folder / observe.STAGING), "the start of a download", "weights")


def folders(settings: Settings) -> tuple[str, ...]:
    return (str(settings["weights_dir"]),)
