"""The systemd unit that runs a training: how it should be, how it is found, and the steps between. Pure.

The text is made by unit_text.py, the steps are done by unit_host.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .text import render, render_gpu
from .want import Want

STATES = ("started", "stopped", "restarted", "present", "absent")
SHOWN = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "ExecMainStatus",
    "NRestarts",
    "NeedDaemonReload",
    "InvocationID",
    "Job",
)


@dataclass(frozen=True)
class Have:
    """A training's unit as it is found."""

    text: str | None = None  # None: no such file
    gpu: str | None = None  # the same of the unit that makes the GPUs' nodes
    spec: str | None = None  # what the supervisor is told
    payloads: Sequence[str] = ()  # files with the supervisor's code
    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    enabled: bool = False
    result: str = "success"
    status: int = 0  # exit status of the main process
    restarts: int = 0
    reload: bool = False  # the file is newer than what systemd knows
    invocation: str = ""
    finished: bool = False
    record: bool = False  # the record folder is there
    folders: bool = False  # results, checkpoints and record folder are there, and the user's
    started: Mapping[str, str] = field(default_factory=dict)  # invocation, log_bytes, errors_bytes, digests by path
    ended: str = ""  # SERVICE_RESULT EXIT_CODE EXIT_STATUS of the last end
    digests: Mapping[str, str] = field(default_factory=dict)  # of the watched files now
    # Folders that lie, by a link, outside of all that the unit may write to: where they really are, by path.
    strays: Mapping[str, str] = field(default_factory=dict)
    # Units of other runs that are alive, or would be after a reboot, with systemd's word (active, inactive, …).
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.active in ("active", "activating", "reloading")

    @property
    def starting(self) -> bool:
        """No step was made yet since the start."""
        return self.active == "activating" and self.sub != "auto-restart"

    @property
    def phase(self) -> str:
        """running, restarting, stopping, finished, failed, stopped or absent."""
        if self.running:
            return "restarting" if self.sub == "auto-restart" else "running"
        if self.active == "deactivating":
            return "stopping"
        if self.finished:
            return "finished"
        if self.text is None:
            return "absent"
        return "failed" if self.active == "failed" else "stopped"

    def older(self) -> list[str]:
        """Watched files that changed after the last start; none when that start left no record."""
        return [path for path, digest in self.digests.items() if path in self.started and self.started[path] != digest]


def parse_started(text: str) -> dict[str, str]:
    """The record of a start: "name value" lines, and sha256sum's "<digest>  <path>" lines turned round."""
    found = {}
    for line in text.splitlines():
        digest = re.fullmatch(r"\\?([0-9a-f]{64})[ *]{2}(/.*)", line)
        word = re.fullmatch(r"([a-z_]+) (\S+)", line)
        if digest:
            found[digest[2]] = digest[1]
        elif word:
            found[word[1]] = word[2]
    return found


def decide(have: Have, want: Want, state: str) -> list[str]:
    """The steps from `have` to `state`, in an order in which a cut anywhere leaves something that can go on."""
    if state == "absent":
        return _removal(have)
    steps = _files(have, want)
    outdated = bool(have.older() or {"payload", "spec", "write"} & set(steps))
    if state in ("started", "restarted"):
        # All runs of a host share script and GPUs: the unit of an earlier run would start this one's once more.
        steps += [f"disable {name}" for name, active in have.others.items() if active in ("inactive", "failed")]
    if state in ("started", "restarted") and not have.enabled:
        steps.append("enable")
    if state == "stopped":
        steps += ["disable"] * have.enabled + ["stop"] * (have.running or have.active == "deactivating")
    if state == "restarted":
        steps += ["stop"] * (have.running or have.active == "deactivating") + ["unfinish"] * have.finished + ["start"]
    if state == "started" and not have.running and not have.finished:
        steps.append("start")
    if state == "started" and have.running and outdated and want.apply == "restart_after_save":
        steps += ["stop", "start"]
    return steps


def _files(have: Have, want: Want) -> list[str]:
    """What the next start reads. What runs goes on with what it was started from."""
    steps = []
    if not have.folders:
        steps.append("folders")
    if want.payload.rpartition("/")[2] not in have.payloads:
        steps.append("payload")
    if have.spec != want.spec():
        steps.append("spec")
    if have.text != render(want) or have.gpu != render_gpu(want):
        steps.append("write")
    if "write" in steps or have.reload or have.load == "not-found":
        steps.append("reload")
    return steps


def _removal(have: Have) -> list[str]:
    steps = ["stop"] * (have.running or have.active == "deactivating") + ["disable"] * have.enabled
    if have.text is not None or have.gpu is not None:
        steps.append("remove")
    if have.text is not None or have.load != "not-found":
        steps.append("reload")
    return steps + ["forget"] * have.record


def as_dict(have: Have) -> dict[str, Any]:
    """Have as it crosses from the host to the controller; Have(**it) is the way back."""
    plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(have).items()}
    return {**plain, "payloads": list(have.payloads)}
