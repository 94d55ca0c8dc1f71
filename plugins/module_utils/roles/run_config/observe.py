"""Role run_config: the settings of the trainer on the host, compared with the wanted ones.

The number of samples is read from the dataset's info file on the host, when observing and when applying alike:
roles do not see each other, and the file is what the loader will read.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...core import state, wire
from ...core.errors import FleetError
from ...core.masking import masked
from ...core.settings import Settings
from ...system import files, managed_files
from ...system.managed_files import Record, State, state_of
from ...trainer import registration
from . import resume
from .resume import Resume

TEXT = 1 << 18  # characters of a file that the plan compares line by line; a script has some thousand


@dataclass(frozen=True)
class File(State):
    """`ours`: its content is one that we wrote. `dialect`: of the yaml, see dialect(). The key's text stays there."""

    ours: bool = False
    text: str = ""
    dialect: str = ""


@dataclass(frozen=True)
class Registration:
    """How dataset_info.py names the dataset. `state`: no file, broken, or as Registered; `blocks`: ours are in it."""

    path: str = ""
    state: str = "no file"
    error: str = ""
    line: int = 0
    entry: Mapping[str, str | int] | None = None
    blocks: bool = False
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Observation:
    """`rows`: of the training file, by the loader's info file; None where there is none yet."""

    script: File = File()
    yaml: File = File()
    key: File = File()
    former_keys: tuple[str, ...] = ()
    rows: int | None = None
    registration: Registration = Registration()
    resume: Resume = field(default_factory=Resume)
    resume_from_present: bool = False


def registration_path(settings: Settings) -> str:
    return os.path.join(str(settings["canvas_code_dir"]), "data", "dataset_info.py")


def record_path(settings: Settings) -> str:
    return os.path.join(str(settings["fleet_state_dir"]), "run_config.json")


def entry(settings: Settings, rows: int) -> dict[str, Any]:
    """What DATASET_INFO[group][name] must be; `rows` is the number of rows of the training file."""
    return {
        "data_dir": str(settings["dataset_train_dir"]),
        "num_files": 1,
        "parquet_info_path": str(settings["dataset_info_path"]),
        "num_total_samples": rows,
    }


def info_rows(path: str) -> int | None:
    """Rows of the one training file, from the loader's info file; None when it is not (yet) such a file."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        found = list(files.load(path).values())
        if len(found) == 1:
            return int(found[0]["num_rows"])
    return None


def dialect(text: str, group: str) -> str:
    """The form of a dataset yaml: loader, guide (data_names, data_weights), group (the loader's form, as in the
    user's own repository, for a group without a class) or unknown. Standard library only.
    """
    keys = set(re.findall(r"^[\"']?(\w+)[\"']?\s*:", text, re.MULTILINE))
    if keys & {"data_weights", "data_names"}:
        return "guide"
    if not keys or not re.search(r"^\s+dataset_names\s*:", text, re.MULTILINE):
        return "unknown"
    return "loader" if group in keys else "group"


def observe(settings: Settings) -> Observation:
    """Observe the files: digests, modes, masked texts of script and yaml, registration."""
    record, group = Record(record_path(settings)), str(settings["dataset_group"])
    yaml = _file(str(settings["run_config_yaml"]), record)
    return Observation(
        script=_file(str(settings["run_config_script"]), record),
        yaml=replace(yaml, dialect=dialect(yaml.text, group) if yaml.present else ""),
        key=replace(_file(state.wandb_key(settings), record), text=""),
        former_keys=tuple(former_keys(settings, record)),
        rows=info_rows(str(settings["dataset_info_path"])),
        registration=_registration(settings),
        resume=resume.observe(settings),
        resume_from_present=os.path.isdir(str(settings.get("run_config_resume_from") or "")),
    )


def former_keys(settings: Settings, record: Record) -> list[str]:
    """Files with the key that version 0.1 gave to the account, as long as they are as it wrote them."""
    found = [state_of(path) for path in record.paths if path != state.wandb_key(settings)]
    return [one.path for one in found if one.mode == "0600" and record.knows(one.path, one.sha256)]


def _file(path: str, record: Record) -> File:
    found, text = state_of(path), ""
    with contextlib.suppress(FleetError, OSError):
        text = masked((managed_files.read(path) or b"").decode(errors="replace"))[:TEXT]
    return File(**vars(found), ours=record.knows(path, found.sha256), text=text)


def _registration(settings: Settings) -> Registration:
    path = registration_path(settings)
    group, name = str(settings["dataset_group"]), str(settings["dataset_name"])
    try:
        source = managed_files.read(path)
        if source is None:
            return Registration(path)
        found = registration.lookup(source, group, name)
        clean = registration.lookup(registration.unregister(source), group, name)
        known = registration.groups(source)
    except (FleetError, OSError) as error:
        return Registration(path, "broken", str(error))
    by_hand = clean if clean.state != "absent" else found
    return Registration(
        path,
        "ours" if clean.state == "absent" != found.state else by_hand.state,
        line=by_hand.line,
        entry=None if by_hand.entry is None else {str(key): _literal(value) for key, value in by_hand.entry.items()},
        blocks=bool(registration.block(source)),
        groups=None if known is None else tuple(known),
    )


def _literal(value: Any) -> str | int:
    """The value of an entry by hand: any literal."""
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < wire.NUMBER
    return value if whole or isinstance(value, str) else repr(value)[:TEXT]
