"""Takes canvas-fleet off a host: files, records, account. What a person could miss stays, unless they name it.

Driver, environment and unit are taken back by their own roles before (playbooks/teardown.yml). Cut anywhere, the next
call goes on: each part is found again by what is there, and the records go last.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import FleetError
from ..roles.canvas_code import decide as canvas_code_plan
from ..roles.conda_env import absent as conda_absent
from ..roles.conda_env import tools as conda_tools
from ..roles.dataset import record as dataset_record
from ..roles.fleet_agent import work as fleet_agent_work
from ..roles.nvidia import observe as nvidia
from ..system import folders, programs
from ..work import runner as host_work
from .parts import Part, kept_dir, parts

SYSTEM_UIDS = 1000  # accounts of people begin here
CACHES = (".cache", ".conda", ".nv", ".triton")  # what programs make anew in the account's home
# What lies in fleet_state_dir: the records of the roles, the folders of their works, and the supervisor.
RECORDS = (
    "canvas_code", "dataset", "fleet_agent", "nvidia", "nvidia.json", "run_config.json", "supervisor",
    "system_packages", "training", "weights", "work",
)  # fmt: skip
Settings = Mapping[str, Any]


def work(settings: Settings, units: host_work.Units, *, check: bool) -> dict[str, Any]:
    """Returns {"changed", "removed": [{role, path, bytes}], "kept": [{role, path, why, also}]}. Raises FleetError."""
    if not check:
        _stop_works(settings, units)
    also = frozenset(settings["fleet_teardown_include"])
    found = parts(settings)
    going = [part for part in found if part.goes(also)]
    staying = [part for part in found if not part.goes(also)]
    records, kept_records = _records(settings, {part.role for part in staying})
    foreign_files = _strangers(settings, [part.path for part in found])
    if foreign_files:
        staying.append(Part("fleet_agent", canvas_code_plan.named(foreign_files), "not put there by canvas-fleet"))
    going += records
    account = _account(settings) if not staying else ""
    removed = [{"role": part.role, "path": part.path, "bytes": _size(part)} for part in going]
    removed += [{"role": "fleet_agent", "path": f"the account {account}", "bytes": 0}] if account else []
    if not check:
        for part in going:
            if part.take:
                part.take()
            else:
                folders.remove_tree(part.path)
        _trust_again(going)
        _prune(settings, [part.path for part in found if not part.take], kept_records)
        if all(part.role != "training" for part in staying):
            _sweep(settings)
        if account:
            _leave(settings, account)
    kept = [{"role": part.role, "path": part.path, "why": part.why, "also": part.word} for part in staying]
    return {"changed": bool(removed), "removed": removed, "kept": kept}


def roles_before(settings: Settings) -> list[str]:
    """Roles that have to take something back themselves, before work() is called."""
    conda = ["conda_env"] if conda_absent.preview(conda_spec(settings)) else []
    record = os.path.join(str(settings["fleet_state_dir"]), nvidia.RECORD)
    wanted = "nvidia" in settings["fleet_teardown_include"]
    return [*conda, *(["nvidia"] if wanted and os.path.exists(record) else [])]


def conda_spec(settings: Settings) -> dict[str, str]:
    """What conda_absent is asked with."""
    return {name: str(settings[f"conda_env_{name}"]) for name in ("root", "prefix", "state_dir")}


def _records(settings: Settings, roles: set[str]) -> tuple[list[Part], list[str]]:
    """Records of roles that leave nothing behind go; the others are what a second teardown needs."""
    folder = str(settings["fleet_state_dir"])
    others = _other_units(os.path.join(folder, "training"), settings)
    going, staying = [], []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path, role = os.path.join(folder, name), name.partition(".")[0]
        if name not in RECORDS:
            continue  # taken by its role, or somebody else's in a folder that a user chose
        if role in roles or (role == "nvidia" and "nvidia" not in settings["fleet_teardown_include"]):
            staying.append(path)
        elif role in ("training", "supervisor") and others:
            staying += others
        else:
            going.append(Part("fleet_agent", path))
    return going, staying


def _other_units(folder: str, settings: Settings) -> list[str]:
    """Records of trainings that go by another name: their units may still run."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in names if name != settings["training_unit"]]


def _strangers(settings: Settings, ours: Sequence[str]) -> list[str]:
    """Files below fleet_root that are not ours, and a conda that stays; what is ours and conda is not looked into."""
    root, conda = str(settings["fleet_root"]), str(settings["conda_env_root"])
    spec = conda_spec(settings)
    caches = (os.path.join(_home(settings), name) for name in CACHES)
    known = {os.path.normpath(path) for path in (*ours, *caches, conda, *conda_tools.builds(spec["prefix"]))}
    found = [conda] if os.path.isdir(conda) and not conda_absent.root_is_ours(spec) else []
    for place, below, names in os.walk(root):
        below[:] = sorted(name for name in below if os.path.join(place, name) not in known)
        links = [name for name in below if os.path.islink(os.path.join(place, name))]
        found += [path for name in (*names, *links) if (path := os.path.join(place, name)) not in known]
    return sorted(found)


def _home(settings: Settings) -> str:
    return os.path.join(str(settings["fleet_root"]), "home")


def _account(settings: Settings) -> str:
    """The account, when it is one that fleet_agent makes; "" otherwise."""
    name = str(settings["fleet_user"])
    with contextlib.suppress(KeyError):
        found = pwd.getpwnam(name)
        if 0 < found.pw_uid < SYSTEM_UIDS and found.pw_dir == _home(settings):
            return name
    return ""


def _size(part: Part) -> int:
    """Bytes that its removal gives back."""
    if part.take or os.path.islink(part.path):
        return 0
    if os.path.isfile(part.path):
        return os.stat(part.path).st_size
    files = (os.path.join(place, name) for place, _, names in os.walk(part.path) for name in names)
    return sum(os.lstat(path).st_size for path in files)


def _stop_works(settings: Settings, units: host_work.Units) -> None:
    """A download or a build that still runs would bring back what is taken away."""
    state = Path(str(settings["fleet_state_dir"]))
    for record in sorted((state / "work").glob("*")):
        if record.is_dir():
            host_work.JobRunner(state, record.name, units).absent(check=False)


def _trust_again(gone: Iterable[Part]) -> None:
    """The host's store of certificates without ours."""
    folders = {os.path.dirname(part.path) for part in gone}
    for place, command in fleet_agent_work.TRUST.items():
        if place in folders:
            _run(*command, variable="fleet_ca_bundle", remedy="run it by hand and see what it says")


def _prune(settings: Settings, paths: Iterable[str], keep: Sequence[str]) -> None:
    """Folders that are empty now: those above what was ours, up to fleet_root and fleet_state_dir."""
    tops = [os.path.normpath(str(settings[name])) for name in ("fleet_root", "fleet_state_dir")]
    layout = dataset_record.layout(settings)
    above = {*map(str, layout.folders.values()), kept_dir(settings), *tops}
    above |= {os.path.dirname(path) for path in (*paths, *keep)}
    names = ("training_checkpoint_dir", "training_results_dir", "weights_dir", "conda_env_state_dir")
    above |= {str(settings[name]) for name in names}
    for place in sorted(above, key=len, reverse=True):
        _rmdir_up(os.path.normpath(place), tops)


def _sweep(settings: Settings) -> None:
    """Folders that the trainer left empty. Not while its checkpoints stay: on a second node those are empty folders."""
    tops = [os.path.normpath(str(settings["fleet_root"]))]
    for place, _, _ in os.walk(str(settings["training_results_dir"]), topdown=False):
        _rmdir_up(os.path.normpath(place), tops)


def _rmdir_up(place: str, tops: Sequence[str]) -> None:
    """This folder, and those above it as far as they lie in one of `tops`, while they are empty."""
    with contextlib.suppress(OSError):
        folders.remove_empty(place)
        while not os.path.lexists(place) and place not in tops and any(place.startswith(f"{top}/") for top in tops):
            place = os.path.dirname(place)
            folders.remove_empty(place)


def _leave(settings: Settings, account: str) -> None:
    """The account goes with its home, when nothing that it could own is left."""
    home = _home(settings)
    _run("userdel", account, variable="fleet_user", remedy="end what runs under it, then tear down again")
    for name in CACHES:
        folders.remove_tree(os.path.join(home, name))
    _rmdir_up(home, [os.path.dirname(home)])


def _run(*argv: str, variable: str, remedy: str) -> None:
    done = programs.run(*argv)
    if not done:
        raise FleetError(f"{argv[0]} failed", variable=variable, found=done.err.strip(), remedy=remedy)
