"""Leftovers: the trainer's files, our block, the compile cache. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ...core import state
from ...core.errors import FleetError
from ...core.leftover import Leftover
from ...core.settings import Settings
from ...system import files, managed_files
from ...trainer import registration
from . import observe, script

RECORDS: tuple[str, ...] = ("run_config.json",)
BY_HAND = "changed by hand"


def leftovers(settings: Settings) -> Iterator[Leftover]:
    record = managed_files.Record(observe.record_path(settings))
    known = (state.wandb_key(settings), str(settings["run_config_script"]), str(settings["run_config_yaml"]))
    for path in dict.fromkeys((*known, *observe.former_keys(settings, record))):
        if os.path.lexists(path) and record.wrote(path):
            ours = record.knows(path, managed_files.state_of(path).sha256)
            yield Leftover("run_config", path, "" if ours else BY_HAND, "edits")
    yield from _entry(observe.registration_path(settings))
    results = str(settings["training_results_dir"])
    cache = os.path.join(results, script.CACHE)
    if results.startswith(f"{settings['fleet_root']}/") and os.path.isdir(cache):  # elsewhere it may be others', too
        yield Leftover("run_config", cache)


def _entry(path: str) -> Iterator[Leftover]:
    """Our block in dataset_info.py; the file itself belongs to the code."""
    try:
        source = files.read(path)
    except OSError:  # absent, or no file at all: it goes with the code's folder
        return
    try:
        clean = registration.unregister(source)
    except FleetError as error:
        yield Leftover("run_config", path, f"{BY_HAND}: {error.message}")
        return
    if clean == source:
        return
    yield Leftover("run_config", f"{path} (the dataset's entry)", take=lambda: files.rewrite(path, clean))
