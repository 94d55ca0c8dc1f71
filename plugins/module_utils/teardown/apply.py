"""Removes canvas-fleet from a host: files, records, account. Data of a person stays unless it is named.

Their own roles remove driver, environment and unit before (playbooks/teardown.yml). Cut anywhere, the next
call goes on: each part is found again by what is there, and the records go last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..core.leftover import Leftover
from ..core.settings import Settings
from ..roles.canvas_code import leftovers as canvas_code
from ..roles.canvas_code.decide import named
from ..roles.conda_env import leftovers as conda_env
from ..roles.dataset import leftovers as dataset
from ..roles.evaluation import leftovers as evaluation
from ..roles.fleet_agent import leftovers as fleet_agent
from ..roles.nvidia import leftovers as nvidia
from ..roles.run_config import leftovers as run_config
from ..roles.training import leftovers as training
from ..roles.weights import leftovers as weights
from ..system import folders
from ..work import runner as host_work


class Role(Protocol):
    """A role's leftovers.py: its records in fleet_state_dir, and what goes or stays."""

    RECORDS: tuple[str, ...]

    def leftovers(self, settings: Settings) -> Iterator[Leftover]: ...


# In the order in which they are taken away.
ROLES: dict[str, Role] = {
    "run_config": run_config,
    "canvas_code": canvas_code,
    "dataset": dataset,
    "weights": weights,
    "evaluation": evaluation,
    "training": training,
    "fleet_agent": fleet_agent,
}
# What lies in fleet_state_dir, and whose it is: the records of the roles, and the folders of their works.
RECORDS = {
    **{name: role for role, own in ROLES.items() for name in own.RECORDS},
    **dict.fromkeys(nvidia.RECORDS, "nvidia"),
    **dict.fromkeys(conda_env.RECORDS, "conda_env"),
    "work": "work",
}


def work(settings: Settings, units: host_work.Units, *, check: bool) -> dict[str, Any]:
    """Returns {"changed", "removed": [{role, path, bytes}], "kept": [{role, path, why, also}]}. Raises FleetError."""
    if not check:
        _stop_works(settings, units)
    also = frozenset(settings["fleet_teardown_include"])
    found = [part for role in ROLES.values() for part in role.leftovers(settings)]
    going = [part for part in found if part.goes(also)]
    staying = [part for part in found if not part.goes(also)]
    records, kept_records = _records(settings, {part.role for part in staying})
    foreign_files = _foreign_files(settings, [part.path for part in found])
    if foreign_files:
        staying.append(Leftover("fleet_agent", named(foreign_files), "foreign files"))
    going += records
    account = fleet_agent.account(settings) if not staying else ""
    removed = [{"role": part.role, "path": part.path, "bytes": _size(part)} for part in going]
    removed += [{"role": "fleet_agent", "path": f"the account {account}", "bytes": 0}] if account else []
    if not check:
        for part in going:
            if part.take:
                part.take()
            else:
                folders.remove_tree(part.path)
        fleet_agent.trust_again(part.path for part in going)
        _prune(settings, [part.path for part in found if not part.take], kept_records)
        if all(part.role != "training" for part in staying):
            _remove_empty_results(settings)
        if account:
            fleet_agent.remove_account(settings, account)
            home = fleet_agent.home(settings)
            _rmdir_up(home, [os.path.dirname(home)])
    kept = [{"role": part.role, "path": part.path, "why": part.why, "also": part.word} for part in staying]
    return {"changed": bool(removed), "removed": removed, "kept": kept}


def roles_before(settings: Settings) -> list[str]:
    """Roles that must remove something themselves before work() is called."""
    asked = {"conda_env": conda_env.to_take_back, "nvidia": nvidia.to_take_back}
    return [name for name, to_take_back in asked.items() if to_take_back(settings)]


def _records(settings: Settings, roles: set[str]) -> tuple[list[Leftover], list[str]]:
    """Records of roles without leftovers; a second teardown needs the others."""
    folder = str(settings["fleet_state_dir"])
    others = _other_units(os.path.join(folder, "training"), settings)
    going, staying = [], []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path, role = os.path.join(folder, name), RECORDS.get(name)
        if role is None:
            continue  # removed by its role, or foreign in a folder that a user chose
        if role in roles or (role == "nvidia" and "nvidia" not in settings["fleet_teardown_include"]):
            staying.append(path)
        elif role == "training" and others:
            staying += others
        else:
            going.append(Leftover("fleet_agent", path))
    return going, staying


def _other_units(folder: str, settings: Settings) -> list[str]:
    """Records of trainings with another name, whose units may still run."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in names if name != settings["training_unit"]]


def _foreign_files(settings: Settings, ours: Sequence[str]) -> list[str]:
    """Foreign files below fleet_root, and a conda that stays; our folders and conda are not searched."""
    closed = (*ours, *fleet_agent.caches(settings), *conda_env.not_looked_into(settings))
    known = {os.path.normpath(path) for path in closed}
    found = conda_env.root_of_the_user(settings)
    for place, below, names in folders.walk(str(settings["fleet_root"])):
        below[:] = sorted(name for name in below if os.path.join(place, name) not in known)
        found += [path for name in names if (path := os.path.join(place, name)) not in known]
    return sorted(found)


def _size(part: Leftover) -> int:
    """Bytes that its removal frees."""
    if part.take or os.path.islink(part.path):
        return 0
    if os.path.isfile(part.path):
        return os.stat(part.path).st_size
    total = 0
    for place, _folders, names in folders.walk(part.path):
        for name in names:
            with contextlib.suppress(OSError):  # removed meanwhile
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _stop_works(settings: Settings, units: host_work.Units) -> None:
    """Stop running work, because it would bring back what is removed."""
    state = Path(str(settings["fleet_state_dir"]))
    for record in sorted((state / "work").glob("*")):
        if record.is_dir():
            host_work.JobRunner(state, record.name, units).absent(check=False)


def _prune(settings: Settings, paths: Iterable[str], keep: Sequence[str]) -> None:
    """Empty folders above removed files, up to fleet_root and fleet_state_dir."""
    tops = [os.path.normpath(str(settings[name])) for name in ("fleet_root", "fleet_state_dir")]
    above = {*tops, *(os.path.dirname(path) for path in (*paths, *keep))}
    above |= {place for role in (dataset, weights, evaluation, training, conda_env) for place in role.folders(settings)}
    for place in sorted(above, key=len, reverse=True):
        _rmdir_up(os.path.normpath(place), tops)


def _remove_empty_results(settings: Settings) -> None:
    """Folders that the trainer left empty. Not while its checkpoints stay: on a second node those are empty folders."""
    tops = [os.path.normpath(str(settings["fleet_root"]))]
    inside = folders.walk(str(settings["training_results_dir"]))
    for place in [place for place, below, names in inside if not below and not names]:
        _rmdir_up(os.path.normpath(place), tops)


def _rmdir_up(place: str, tops: Sequence[str]) -> None:
    """This folder and its parents within `tops`, while they are empty."""
    with contextlib.suppress(OSError):
        folders.remove_empty(place)
        while not os.path.lexists(place) and place not in tops and any(place.startswith(f"{top}/") for top in tops):
            place = os.path.dirname(place)
            folders.remove_empty(place)
