"""Leftovers: checkpoints, their seals and links, the log. Changes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ...checkpoints import exports, models
from ...checkpoints.seal import kept_dir_of
from ...core.leftover import Leftover
from ...core.settings import Settings, named
from ...supervisor.transcript import LOSSES, PART, PLAIN
from ...trainer import checkpoint as checkpoints

RECORDS: tuple[str, ...] = ("supervisor", "training")
# What checkpoints/seal.py, its neighbours and peers/ make in the kept folder.
_KEPT = re.compile(
    r"\d{7,}(\.json)?(\.new)?|aside|(attempt(-\d+)?|fetched\.json)(\.new)?|\.(back|fetch|lock|new|old)\b.*|\..*\.canvas-fleet"
)


def leftovers(settings: Settings) -> Iterator[Leftover]:
    results, folder = str(settings["training_results_dir"]), str(settings["training_checkpoint_dir"])
    own = results.startswith(f"{settings['fleet_root']}/")  # elsewhere wandb may be another program's
    found = [one.path for one in checkpoints.survey(folder).checkpoints]
    kept = kept_dir(settings)  # the user's to choose, so it may hold other things
    names = sorted(os.listdir(kept)) if os.path.isdir(kept) else ()
    found += [os.path.join(kept, name) for name in names if _KEPT.fullmatch(name)]
    for name in models.leftovers(results):
        yield Leftover("training", name, "a model merged from the run's adapters", "checkpoints")
    for name in exports.leftovers(results):
        yield Leftover("training", name, "a model folder that was exported", "checkpoints")
    ours = ("log.txt", PLAIN, f"{PLAIN}{PART}", LOSSES, *(["wandb"] if own else []))
    logs = (os.path.join(results, name) for name in ours)
    found += [path for path in logs if os.path.lexists(path)]
    for path in found:
        yield Leftover("training", path, "the results of the training", "checkpoints")


def folders(settings: Settings) -> tuple[str, ...]:
    results = str(settings["training_results_dir"])
    made = (models.models_of(results), exports.exports_of(results))
    return (kept_dir(settings), *made, str(settings["training_checkpoint_dir"]), results)


def kept_dir(settings: Settings) -> str:
    """The run's kept folder."""
    names = ("training_results_dir", "training_checkpoint_dir", "training_kept_dir")
    return kept_dir_of(*(str(named(settings, name)) for name in names))
