"""Role run_config: everything that the trainer is told, as it stands on the host against what it should be.

The number of samples is read from the dataset's info file on the host, when observing and when applying alike:
roles do not see each other, and the file is what the loader will read.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any

from ...core.errors import FleetError
from ...system import files, managed_files
from ...system.managed_files import Record, state_of
from ...trainer import registration
from . import resume


def registration_path(settings: Mapping[str, Any]) -> str:
    return os.path.join(str(settings["canvas_code_dir"]), "data", "dataset_info.py")


def record_path(settings: Mapping[str, Any]) -> str:
    return os.path.join(str(settings["fleet_state_dir"]), "run_config.json")


def entry(settings: Mapping[str, Any], rows: int) -> dict[str, Any]:
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
    """Whose form a dataset yaml has: loader, guide (data_names, data_weights), group (the loader's form, as in the
    user's own repository, for a group without a class) or unknown. Standard library only.
    """
    keys = set(re.findall(r"^[\"']?(\w+)[\"']?\s*:", text, re.MULTILINE))
    if keys & {"data_weights", "data_names"}:
        return "guide"
    if not keys or not re.search(r"^\s+dataset_names\s*:", text, re.MULTILINE):
        return "unknown"
    return "loader" if group in keys else "group"


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The files as they are: digests, modes, texts of the two that hold no secret, and the registration."""
    record = Record(record_path(settings))
    seen: dict[str, Any] = {
        "script": _file(str(settings["run_config_script"]), record),
        "yaml": _file(str(settings["run_config_yaml"]), record),
        "key": {**state_of(str(settings["run_config_wandb_key_file"]))},
        "rows": info_rows(str(settings["dataset_info_path"])),
        "registration": _registration(settings),
        "resume": resume.observe(settings),
        "resume_from_present": os.path.isdir(str(settings.get("run_config_resume_from") or "")),
    }
    text, group = seen["yaml"]["text"], str(settings["dataset_group"])
    seen["yaml"]["dialect"] = dialect(text, group) if seen["yaml"]["present"] else ""
    seen["key"]["ours"] = record.knows(seen["key"]["path"], seen["key"]["sha256"])
    return seen


def _file(path: str, record: Record) -> dict[str, Any]:
    found = state_of(path)
    text = ""
    with contextlib.suppress(FleetError, OSError):
        text = (managed_files.read(path) or b"").decode(errors="replace")
    return {**found, "ours": record.knows(path, found["sha256"]), "text": text}


def _registration(settings: Mapping[str, Any]) -> dict[str, Any]:
    path = registration_path(settings)
    group, name = str(settings["dataset_group"]), str(settings["dataset_name"])
    try:
        source = managed_files.read(path)
        if source is None:
            return {"path": path, "state": "no file"}
        found = registration.lookup(source, group, name)
        clean = registration.lookup(registration.unregister(source), group, name)
        known = registration.groups(source)
    except (FleetError, OSError) as error:
        return {"path": path, "state": "broken", "error": str(error)}
    by_hand = clean if clean.state != "absent" else found
    return {
        "path": path,
        "state": "ours" if clean.state == "absent" != found.state else by_hand.state,
        "line": by_hand.line,
        "entry": dict(by_hand.entry) if by_hand.entry is not None else None,
        "blocks": len(registration.block(source)) > 0,
        "groups": known,
    }
