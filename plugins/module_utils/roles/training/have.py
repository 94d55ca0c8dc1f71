"""The state of a training's unit on its host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# systemd's own exit codes for a unit that it could not start (systemd.exec(5)): no restart helps.
SETUP = {
    200: "its working directory is not there, or the user may not enter it",
    203: "/usr/bin/python3 could not be executed",
    209: "its standard output could not be set up",
    216: "its group does not exist",
    217: "its user does not exist",
    222: "its standard error could not be set up",
    226: "a folder of its sandbox is not there (results_dir, checkpoint_dir)",
    243: "the file with the W&B key, or the one with the run's secret, could not be read",
}
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
    "FragmentPath",
)


@dataclass(frozen=True)
class Have:
    """The state of a training's unit."""

    text: str | None = None  # None: no such file
    key_id: str = ""  # fingerprint of the run's secret; "" when the host holds none
    gpu: str | None = None  # the same of the unit that makes the GPUs' nodes
    merge: str | None = None  # … and of the unit that merges adapters
    evaluation: str | None = None  # … and of the unit that evaluates
    evaluation_spec: str | None = None  # the settings of that unit
    merging: str = ""  # systemd's word for its state; "" where nothing is to be merged
    unmerged: int | None = None  # step of a finished run's newest adapters, where they are no whole model yet
    evaluating: str = ""  # systemd's word for the state of the unit that evaluates; "" where nothing is to be
    unevaluated: int | None = None  # step of a finished run's newest checkpoint, where it is not evaluated yet
    spec: str | None = None  # the supervisor's settings
    payloads: tuple[str, ...] = ()  # files with the supervisor's code
    load: str = "not-found"
    fragment: str = ""  # the file that systemd knows the unit from
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
    digests: Mapping[str, str] = field(
        default_factory=dict
    )  # of the watched files; in the plan, as they are going to be
    # Folders that lie, by a link, outside of all that the unit may write to: where they really are, by path.
    strays: Mapping[str, str] = field(default_factory=dict)
    # Units of other runs that are alive, or would be after a reboot, with systemd's word (active, inactive, …).
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.active in ("active", "activating", "reloading")

    @property
    def starting(self) -> bool:
        """True while no step was made since the start."""
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
        """Watched files that changed after the last start; none while that start has left no record."""
        if self.invocation and self.started.get("invocation", self.invocation) != self.invocation:
            return []  # the record is of the start before
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
