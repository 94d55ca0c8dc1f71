"""Write the settings of the trainer in one call: script, yaml, registration and W&B key.

Each file has have, want, decide, apply. An edit by hand is kept beside the file and reported.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ...core import state
from ...core.errors import FleetError
from ...core.settings import Settings, named
from ...system import files, folders, managed_files, ownership
from ...system.digests import sha256
from ...system.managed_files import Record, read
from ...system.ownership import Owner
from ...trainer import registration
from .observe import entry, former_keys, info_rows, record_path, registration_path
from .texts import SCRIPT_MODE, YAML_MODE, Texts


@dataclass(frozen=True)
class Target:
    """One file to write. want None: it must not exist. mine: our part of the content."""

    name: str
    path: str
    want: bytes | None
    mode: int
    owner: Owner
    secret: bool = False
    mine: Callable[[bytes], bytes] = bytes

    def kept(self, have: bytes | None, record: Record) -> bool:
        """True when writing would lose a person's edits."""
        own = self.mine(have or b"")
        return bool(own) and have != self.want and not record.knows(self.path, sha256(own))


def targets(settings: Settings, texts: Texts, key: str, *, check: bool) -> list[Target]:
    """Wanted files, in the order of writing. Raises FleetError for bad settings."""
    try:
        owner = ownership.owner_of(str(settings["fleet_user"]), str(settings["fleet_group"]))
    except FleetError:
        if not check:  # a dry run on a bare host: the account comes with the host's first converge
            raise
        owner = Owner()
    plain = (("run_config_script", texts.script, SCRIPT_MODE), ("run_config_yaml", texts.yaml, YAML_MODE))
    paths = [(str(named(settings, name)), text, mode) for name, text, mode in plain]
    found = _keys(settings, key)
    found += [Target(os.path.basename(path), path, text.encode(), mode, owner) for path, text, mode in paths]
    block = _registration(settings, texts, owner, check=check)
    return [*found, block] if block else found


def _keys(settings: Settings, key: str) -> list[Target]:
    """The file with the W&B key, which is root's, and those of version 0.1, which go."""
    former = former_keys(settings, Record(record_path(settings)))
    wanted = {state.wandb_key(settings): key.encode() if key else None, **dict.fromkeys(former)}
    owner = Owner(os.geteuid(), os.getegid())
    return [Target("wandb_api_key", path, want, 0o600, owner, secret=True) for path, want in wanted.items()]


def _registration(settings: Settings, texts: Texts, owner: Owner, *, check: bool) -> Target | None:
    path = registration_path(settings)
    source, rows = read(path), info_rows(str(settings["dataset_info_path"]))
    if check and source is None:
        return None  # a dry run on a bare host: the code comes first
    if source is None:
        raise FleetError("there is no file to register the dataset in", variable="canvas_code_dir", found=f"no {path}")
    if rows is None and not check:
        raise FleetError(
            "the number of samples cannot be read",
            variable="dataset_info_path",
            found=f"no info file of one parquet file at {settings['dataset_info_path']}",
            expected="the file that the dataset role writes",
        )
    place = (str(settings["dataset_group"]), str(settings["dataset_name"]))
    want = registration.register(source, *place, entry(settings, rows or 0), texts.registration)
    info = os.stat(path)
    owner = Owner(info.st_uid, info.st_gid)
    mode = stat.S_IMODE(info.st_mode)
    return Target("dataset_info.py", path, want, mode, owner, mine=registration.block)


def converge(settings: Settings, texts: Texts, key: str, *, check: bool) -> dict[str, Any]:
    """Write all files. Returns {"changed", "files": [{name, path, changed, kept, …}], "diff": […]}."""
    record = Record(record_path(settings))
    wanted = targets(settings, texts, key, check=check)
    found = [(target, read(target.path)) for target in wanted]
    for target in wanted:  # all of them before the first write
        managed_files.refuse_file_in_the_way(os.path.dirname(target.path))
    reports = [_plan(target, have, record) for target, have in found]
    if not check:
        for (target, have), report in zip(found, reports):
            _apply(target, have, record, report)
    changed = [pair for pair, report in zip(found, reports) if report["changed"]]
    diff = [_diff(target, have) for target, have in changed if not target.secret]
    return {"changed": bool(changed), "files": reports, "diff": diff}


def _plan(target: Target, have: bytes | None, record: Record) -> dict[str, Any]:
    """What would be done to one file."""
    report: dict[str, Any] = {"name": target.name, "path": target.path, "kept": "", "changed": False}
    if target.want is None:
        # A foreign key file is kept; the script uses it if it can read it.
        report["changed"] = have is not None and record.knows(target.path, sha256(have))
        return report
    report["sha256"] = "" if target.secret else sha256(target.want)
    report["changed"] = have != target.want or not _mode_right(target)
    if have is not None and target.kept(have, record):
        report["kept"] = f"{target.path}.user-{sha256(have)[:8]}"
    return report


def _mode_right(target: Target) -> bool:
    info = os.stat(target.path)
    return stat.S_IMODE(info.st_mode) == target.mode and target.owner.uid in (None, info.st_uid)


def _apply(target: Target, have: bytes | None, record: Record, report: Mapping[str, Any]) -> None:
    own = target.mine(target.want or b"")
    if own and not record.knows(target.path, sha256(own)):
        record.note(target.path, sha256(own))
    if not report["changed"]:
        return
    if target.want is None:
        files.remove(target.path)
        with contextlib.suppress(OSError):
            folders.remove_empty(os.path.dirname(target.path))
        return
    if report["kept"]:
        managed_files.keep(target.path, have or b"", secret=target.secret)
    managed_files.make_folders(os.path.dirname(target.path), target.owner, 0o700 if target.secret else 0o755)
    files.write(target.path, target.want, target.mode, target.owner)


def _diff(target: Target, have: bytes | None) -> dict[str, str]:
    return {
        "before_header": target.path,
        "after_header": target.path,
        "before": (have or b"").decode(errors="replace"),
        "after": (target.want or b"").decode(errors="replace"),
    }
