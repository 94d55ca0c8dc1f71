"""Records of works that run as the account: it writes its own, and root takes what is sound of them into its own.

<state>/work/<name>/own/<worker>/   the account's: a hint, from which a work that was cut goes on
<state>/<folder>/                   root's: what the plan and teardown believe
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import FleetError
from ..roles.conda_env import observe as conda_env
from ..roles.dataset import record as dataset
from ..roles.weights import record as weights
from ..system import files, folders
from ..system.ownership import Owner

Spec = Any  # a worker's: some of the settings, by their names
STATE = "fleet_state_dir"


@dataclass(frozen=True)
class Kept:
    """Folder and path of a work's record by its spec, and the valid parts of a record."""

    folder: str
    path: Callable[[Spec], Path]
    sound: Callable[[Spec, Mapping[str, Any]], dict[str, Any]]


KEPT = {
    "conda_env": Kept(conda_env.ADOPTED, conda_env.record_path, conda_env.sound),
    "dataset": Kept("dataset", dataset.path, dataset.sound),
    "weights": Kept("weights", weights.path, weights.sound),
}


def as_the_account(worker: str, spec: Spec, own: Path) -> dict[str, Any]:
    """The spec as the work itself gets it."""
    return {**spec, STATE: str(own), "incoming": str(dataset.incoming(spec))} if worker in KEPT else dict(spec)


def take(worker: str, spec: Spec, own: Path) -> None:
    """Into root's record. A path in a record stays below the folder that the spec names, or is dropped."""
    kept = KEPT.get(worker)
    if kept is None or STATE not in spec:  # of an older version, or of none
        return
    hint = files.load(kept.path({**spec, STATE: str(own)}), follow=False)
    with suppress(FleetError):  # a spec that the work itself refuses
        found, path = kept.sound(spec, hint), kept.path(spec)
        if found and found != files.load(path):
            folders.make(path.parent)
            files.save(path, found)


def hand_over(worker: str, spec: Spec, own: Path, owner: Owner) -> None:
    """The folder of version 0.1, which was the account's, becomes root's; its record becomes the account's hint."""
    if worker not in KEPT:
        return
    folder = Path(str(spec[STATE])) / KEPT[worker].folder
    if folders.is_anothers(folder):
        hint = files.load(KEPT[worker].path(spec), follow=False)
        folders.make(own / KEPT[worker].folder, owner)
        files.save(KEPT[worker].path({**spec, STATE: str(own)}), hint)
        folders.remove_tree(folder)
    folders.make(folder)
