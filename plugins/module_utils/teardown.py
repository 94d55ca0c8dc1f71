"""Takes canvas-fleet off a host: files, records, account. What a person could miss stays, unless they name it.

Driver, environment and unit are taken back by their own rooms before (playbooks/teardown.yml). Cut anywhere, the next
call goes on: each part is found again by what is there, and the records go last.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils import (
    conda_absent,
    dataset_record,
    fleet_agent_work,
    host_work,
    nvidia,
)
from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.teardown_rooms import Part, kept_dir, parts

SYSTEM_UIDS = 1000  # accounts of people begin here
NAMED = 3  # files that a sentence names before it counts
Settings = Mapping[str, Any]


def work(settings: Settings, units: host_work.Units, *, check: bool) -> dict[str, Any]:
    """Returns {"changed", "removed": [{room, path, bytes}], "kept": [{room, path, why, also}]}. Raises FleetError."""
    also = frozenset(settings["fleet_teardown_also"])
    found = parts(settings)
    going = [part for part in found if part.goes(also)]
    staying = [part for part in found if not part.goes(also)]
    records, kept_records = _records(settings, {part.room for part in staying})
    strangers = _strangers(settings, [part.path for part in found])
    if strangers:
        why = "canvas-fleet did not put it there" if len(strangers) == 1 else "canvas-fleet did not put them there"
        staying.append(Part("fleet_agent", _named(strangers), why))
    going += records
    account = _account(settings) if not staying else ""
    removed = [{"room": part.room, "path": part.path, "bytes": _size(part)} for part in going]
    removed += [{"room": "fleet_agent", "path": f"the account {account}", "bytes": 0}] if account else []
    if not check:
        _stop_works(settings, units)
        for part in going:
            part.take() if part.take else _remove(part.path)
        _trust_again(going)
        _prune(settings, [part.path for part in found if not part.take], kept_records)
        if not staying:
            _sweep(str(settings["fleet_root"]))
        if account:
            _leave(settings, account)
    kept = [{"room": part.room, "path": part.path, "why": part.why, "also": part.word} for part in staying]
    return {"changed": bool(removed), "removed": removed, "kept": kept}


def rooms_before(settings: Settings) -> list[str]:
    """Rooms that have to take something back themselves, before work() is called."""
    spec = {name: settings[f"conda_env_{name}"] for name in ("root", "prefix", "state_dir")}
    conda = ["conda_env"] if conda_absent.preview(spec) else []
    record = os.path.join(str(settings["fleet_state_dir"]), nvidia.RECORD)
    wanted = "nvidia" in settings["fleet_teardown_also"]
    return [*conda, *(["nvidia"] if wanted and os.path.exists(record) else [])]


def _records(settings: Settings, rooms: set[str]) -> tuple[list[Part], list[str]]:
    """Records of rooms that leave nothing behind go; the others are what a second teardown needs."""
    folder = str(settings["fleet_state_dir"])
    agent = str(settings["fleet_agent_dir"])
    mine = {agent, f"{agent}.d", str(settings["conda_env_state_dir"])}  # taken by their rooms
    others = _other_units(os.path.join(folder, "training"), settings)
    going, staying = [], []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path, room = os.path.join(folder, name), name.partition(".")[0]
        if path in mine:
            continue
        if room in rooms or (room == "nvidia" and "nvidia" not in settings["fleet_teardown_also"]):
            staying.append(path)
        elif room in ("training", "supervisor") and others:
            staying += others
        else:
            going.append(Part("fleet_agent", path))
    return going, staying


def _other_units(folder: str, settings: Settings) -> list[str]:
    """Records of trainings that go by another name: their units may still run."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in names if name != settings["training_unit"]]


def _strangers(settings: Settings, ours: Sequence[str]) -> list[str]:
    """Files below fleet_root that are not ours; conda, the home of the account and what is ours are not looked into."""
    root = str(settings["fleet_root"])
    conda = str(settings["conda_env_root"])
    known = {os.path.normpath(path) for path in (*ours, conda, str(settings["conda_env_prefix"]), _home(settings))}
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if os.path.join(place, name) not in known)
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [path for name in (*names, *links) if (path := os.path.join(place, name)) not in known]
    return sorted(found)


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more


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
            host_work.Desk(state, record.name, units).absent(check=False)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _trust_again(gone: Iterable[Part]) -> None:
    """The host's store of certificates without ours."""
    folders = {os.path.dirname(part.path) for part in gone}
    for place, command in fleet_agent_work.TRUST.items():
        if place in folders:
            fleet_agent_work.run(*command)


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


def _sweep(folder: str) -> None:
    """Folders that the trainer made and left empty. Files that are nobody's of ours would have been seen before."""
    for place, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(place)


def _rmdir_up(place: str, tops: Sequence[str]) -> None:
    """This folder, and those above it as far as they lie in one of `tops`, while they are empty."""
    with contextlib.suppress(OSError):
        os.rmdir(place)
        while not os.path.lexists(place) and place not in tops and any(place.startswith(f"{top}/") for top in tops):
            place = os.path.dirname(place)
            os.rmdir(place)


def _leave(settings: Settings, account: str) -> None:
    """The account goes with its home, when nothing that it could own is left."""
    home = _home(settings)
    done = subprocess.run(["userdel", account], capture_output=True, text=True, check=False)
    if done.returncode:
        raise FleetError(
            "the account cannot be removed",
            variable="fleet_user",
            found=done.stderr.strip(),
            remedy="end what runs under it, then tear down again",
        )
    if os.path.isdir(home):
        shutil.rmtree(home)
    _rmdir_up(os.path.dirname(home), [os.path.dirname(home)])
