"""The program of a work unit: reads the record folder, runs the worker, leaves result.json in its own folder there.

Started as `<python> payload.zip <record folder> <folder with the private file>`; payload.zip is the copy of the code
that the module itself ran from, so nothing has to be installed first.
"""

from __future__ import annotations

import os
import pwd
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ..core import masking, shown
from ..core.errors import REMEDIES, FleetError, refused_by_host
from ..core.progress import Progress
from ..machine.long_work import OWN, PROGRESS, RESULT
from ..system import credentials, files
from .records import as_the_account


def worker(name: str) -> ModuleType:
    """The worker's module. The imports are written out, because Ansible packs only what it can read in the source."""
    if name == "fleet_agent":
        from ..roles.fleet_agent import work as fleet_agent_work

        return fleet_agent_work
    if name == "conda_env":
        from ..roles.conda_env import work as conda_env_work

        return conda_env_work
    if name == "dataset":
        from ..roles.dataset import work as dataset_work

        return dataset_work
    if name == "weights":
        from ..roles.weights import work as weights_work

        return weights_work
    if name == "training":
        from ..roles.training import work as training_work

        return training_work
    if name == "evaluation":
        from ..roles.evaluation import work as evaluation_work

        return evaluation_work
    if name == "export":
        from ..roles.export import work as export_work

        return export_work
    if name == "nvidia":
        from ..roles.nvidia import work as nvidia_work

        return nvidia_work
    raise FleetError(f"there is no worker named {name!r}", variable="worker")


def preview(name: str, spec: dict[str, Any]) -> list[str]:
    """What the work would do, one sentence each, from the worker's preview(spec), if it has one."""
    tell: Callable[[dict[str, Any]], list[str]] | None = getattr(worker(name), "preview", None)
    return tell(spec) if tell else [f"run the work {name}"]


def outcome(name: str, spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The worker's result in its record: {"ok": true, "result"} or {"ok": false, "error", "unexpected"}."""
    try:
        return {"ok": True, "result": worker(name).work(spec, progress)}
    except FleetError as error:
        return {"ok": False, "error": error.as_dict(), "unexpected": False}
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REMEDIES:
            return refused(error)
        traceback.print_exc()
        words = FleetError(f"{type(error).__name__}: {error}")
        return {"ok": False, "error": words.as_dict(), "unexpected": True}


def refused(error: OSError) -> dict[str, Any]:
    return {"ok": False, "error": refused_by_host(error).as_dict(), "unexpected": False}


def write_result(own: Path, memory: Path, result: dict[str, Any]) -> None:
    """The result survives a power cut or is not there: it is what says that the work ended. `memory`: a folder for it
    where the disk is full."""
    try:
        files.save(own / RESULT, result)
    except OSError:
        files.save(memory / RESULT, result, durable=False)


def take_private(path: Path) -> dict[str, Any]:
    """Secrets and environment. The file is removed after reading."""
    private = files.load(path)
    files.remove(path)
    return private


def main(arguments: list[str]) -> int:
    record, private = Path(arguments[0]), take_private(Path(arguments[1]))
    masking.remember(private["secrets"])
    credentials.use(private["secrets"].pop("fleet_credentials", {}))
    private["environment"] = credentials.with_logins(private["environment"])
    private["environment"].update(credentials.for_programs(os.path.dirname(arguments[1])))
    job = files.load(record / "spec.json")
    try:
        with files.captured(record / OWN / "log", shown.line):
            result = _work(record / OWN, job, private)
    except OSError as error:  # no room for the log
        result = refused(error)
    answer = {**result, "digest": job["digest"], "request_id": job["request_id"]}
    write_result(record / OWN, Path(arguments[1]).parent, answer)
    return 0 if result["ok"] else 1


def _work(own: Path, job: dict[str, Any], private: dict[str, Any]) -> dict[str, Any]:
    os.environ.setdefault("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    os.environ.update(private["environment"])
    spec = {**as_the_account(job["worker"], job["spec"], own), **private["secrets"]}
    progress = Progress(lambda state: files.save(own / PROGRESS, shown.each(state), durable=False))
    return outcome(job["worker"], spec, progress)
