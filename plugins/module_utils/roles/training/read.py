"""Reads the state of a training's unit on its host: files, systemd, records. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ...checkpoints import models
from ...checkpoints.seal import Place
from ...evaluation import last
from ...peers import secret
from ...system import digests, files, folders, limits, units
from ...trainer import checkpoint
from . import folders as unit_folders
from .have import SHOWN, Have, parse_started
from .want import Want


def read(want: Want) -> Have:
    shown = next(iter(units.show(SHOWN, f"{want.unit}.service")), {})
    active, sub = _soon(shown)
    return Have(
        text=text_of(want.path),
        gpu=text_of(want.gpu_path),
        merge=text_of(want.merge_path),
        merging=units.state(f"{want.unit}-merge.service").active if want.merges else "",
        unmerged=models.unmerged(Place(want.checkpoint_dir, want.kept), want.results_dir) if want.merges else None,
        evaluation=text_of(want.evaluation_path),
        evaluation_spec=text_of(want.evaluation_spec_path),
        evaluating=units.state(f"{want.unit}-evaluation.service").active if want.evaluates else "",
        unevaluated=_unevaluated(want) if want.evaluates else None,
        key_id=secret.fingerprint(secret.read(want.secret_path)),
        spec=text_of(want.spec_path),
        payloads=tuple(_names(want.payloads)),
        load=shown.get("LoadState", "not-found"),
        fragment=shown.get("FragmentPath", ""),
        active=active,
        sub=sub,
        enabled=shown.get("UnitFileState") == "enabled",
        result=shown.get("Result", "success"),
        status=int(shown.get("ExecMainStatus") or 0),
        restarts=int(shown.get("NRestarts") or 0),
        reload=shown.get("NeedDaemonReload") == "yes",
        invocation=shown.get("InvocationID", ""),
        finished=os.path.lexists(f"{want.record}/finished"),
        record=os.path.isdir(want.record),
        folders=unit_folders.ready(want),
        started=parse_started(text_of(f"{want.record}/started") or ""),
        ended=(text_of(f"{want.record}/ended") or "").strip(),
        digests={path: found for path in want.watched if (found := digests.of_small(path))},
        strays=_strays(want),
        others=_others(want),
    )


def _unevaluated(want: Want) -> int | None:
    """The newest checkpoint, while its evaluation has not come to its end."""
    whole = checkpoint.survey(want.checkpoint_dir).newest_whole
    mode = str(want.settings["evaluation_at_end"])
    return None if whole is None or last.evaluated(want.evaluation_dir, mode, whole.step) else whole.step


def _others(want: Want) -> dict[str, str]:
    """Units of other runs that have a record here, as Have.others."""
    names = [f"{name}.service" for name in _names(os.path.dirname(want.record)) if name != want.unit]
    shown = units.show(("Id", "ActiveState", "UnitFileState"), *names) if names else []
    return {
        unit["Id"].rpartition(".")[0]: unit["ActiveState"]
        for unit in shown
        if unit["UnitFileState"] == "enabled" or unit["ActiveState"] not in ("inactive", "failed")
    }


def _soon(shown: Mapping[str, str]) -> tuple[str, str]:
    """ActiveState and SubState; of a unit whose start or stop still waits in systemd's queue, those to come."""
    active, sub = shown.get("ActiveState", "inactive"), shown.get("SubState", "dead")
    if shown.get("Job", "") not in ("", "0"):
        return {"inactive": ("activating", "queued"), "failed": ("activating", "queued"),
                "active": ("deactivating", "queued")}.get(active, (active, sub))  # fmt: skip
    return active, sub


def text_of(path: str) -> str | None:
    try:
        return files.read(path, limits.SCRIPT_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def _strays(want: Want) -> dict[str, str]:
    inside = [os.path.realpath(path) for path in want.writable]
    real = {path: os.path.realpath(path) for path in (want.checkpoint_dir, want.kept)}
    return {path: at for path, at in real.items() if not any(os.path.commonpath([at, one]) == one for one in inside)}


def _names(folder: str) -> list[str]:
    try:
        return folders.names(folder)
    except OSError:
        return []
