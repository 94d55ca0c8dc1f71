"""The host's side of a training's unit: reads its state, does the steps. Runs as root under the system's Python."""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.plain_file import open_plain
from ansible_collections.canvas.fleet.plugins.module_utils.unit import (
    SHOWN,
    Have,
    parse_show,
    parse_started,
)
from ansible_collections.canvas.fleet.plugins.module_utils.unit_text import Want, render

SMALL = 1 << 20  # bytes; scripts and yaml are far below
ERRORS_LIMIT = 64 << 20  # bytes of errors.log before a start sets it aside
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
# systemd's own exit codes for a unit that it could not start (systemd.exec(5)).
SETUP = {
    200: "its working directory is not there, or the user may not enter it",
    203: "/bin/bash could not be executed",
    216: "its group does not exist",
    217: "its user does not exist",
    209: "its standard output could not be set up",
    222: "its standard error could not be set up",
    226: "a folder of its sandbox is not there (results_dir, checkpoint_dir)",
    243: "the file with the W&B key could not be read",
}


class UnitHost(Protocol):
    """What converge() needs of a host."""

    def read(self, want: Want) -> Have: ...
    def do(self, step: str, want: Want) -> None: ...
    def settled(self, want: Want, seconds: float) -> Have: ...


class Systemd:
    """The real host."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def read(self, want: Want) -> Have:
        shown = parse_show(self._systemctl("show", *(f"-p{name}" for name in SHOWN), f"{want.unit}.service")[1])
        folders = (want.results_dir, want.checkpoint_dir)
        return Have(
            text=_text(want.path),
            load=shown.get("LoadState", "not-found"),
            active=shown.get("ActiveState", "inactive"),
            sub=shown.get("SubState", "dead"),
            enabled=shown.get("UnitFileState") == "enabled",
            result=shown.get("Result", "success"),
            status=int(shown.get("ExecMainStatus") or 0),
            restarts=int(shown.get("NRestarts") or 0),
            reload=shown.get("NeedDaemonReload") == "yes",
            invocation=shown.get("InvocationID", ""),
            finished=os.path.lexists(f"{want.record}/finished"),
            record=os.path.isdir(want.record),
            folders=os.path.isdir(want.record) and all(_owned(path, want.user) for path in folders),
            started=parse_started(_text(f"{want.record}/started") or ""),
            ended=(_text(f"{want.record}/ended") or "").strip(),
            digests={path: digest for path in want.watched if (digest := _digest(path))},
        )

    def do(self, step: str, want: Want) -> None:
        """One step of unit.decide(). Raises FleetError when the host did not follow."""
        {
            "folders": lambda: self._folders(want),
            "write": lambda: _write(Path(want.path), render(want)),
            "remove": lambda: os.unlink(want.path),
            "unfinish": lambda: os.unlink(f"{want.record}/finished"),
            "forget": lambda: shutil.rmtree(want.record),
            "reload": lambda: self._must("daemon-reload"),
            "enable": lambda: self._must("enable", f"{want.unit}.service"),
            "disable": lambda: self._must("disable", f"{want.unit}.service"),
            "start": lambda: self._start(want),
            "stop": lambda: self._stop(want),
        }[step]()

    def settled(self, want: Want, seconds: float) -> Have:
        """The state after `seconds`, or once the training has stopped: only then is known how it ended."""
        until = time.monotonic() + seconds
        while True:
            have = self.read(want)
            if have.phase not in ("running", "stopping") or (have.phase == "running" and time.monotonic() >= until):
                return have
            self._sleep(min(0.25, seconds))

    def _start(self, want: Want) -> None:
        with contextlib.suppress(OSError):
            if os.stat(want.errors).st_size > ERRORS_LIMIT:
                os.replace(want.errors, f"{want.errors}.1")
        # A person's start is not one of the restarts that the limit counts.
        self._systemctl("reset-failed", f"{want.unit}.service")
        status, _, error = self._systemctl("start", f"{want.unit}.service")
        # A training that failed is told of in its own words, by whoever looks at the state next.
        if status and self.read(want).phase not in ("failed", "restarting"):
            raise FleetError(f"systemd could not start {want.unit}", found=" ".join(error.split()))

    def _stop(self, want: Want) -> None:
        """SIGTERM to every process of the unit, SIGKILL after its stop timeout; returns when none is left."""
        self._must("stop", f"{want.unit}.service")
        left = _processes(want.unit)
        if left:
            raise FleetError(
                f"processes of {want.unit} outlived the stop",
                found="process " + ", ".join(left),
                remedy="a process in the kernel's hands (state D in ps) ends with the GPU's or disk's driver",
            )
        # A stopped trainer exits with 1: without this a wanted stop would be listed as a failure for ever.
        self._systemctl("reset-failed", f"{want.unit}.service")

    def _folders(self, want: Want) -> None:
        try:
            user, group = pwd.getpwnam(want.user).pw_uid, grp.getgrnam(want.group).gr_gid
        except KeyError as error:
            raise FleetError(
                "the training's user or group does not exist on this host",
                variable="fleet_user",
                found=str(error.args[0]),
            ) from None
        os.makedirs(want.record, mode=0o755, exist_ok=True)
        for path in (want.results_dir, want.checkpoint_dir):
            if os.path.lexists(path) and not os.path.isdir(path):
                raise FleetError(
                    "a folder is needed here", found=f"{path} is no folder", variable="training_results_dir"
                )
            os.makedirs(path, mode=0o755, exist_ok=True)
            os.chown(path, user, group)

    def _must(self, *words: str) -> None:
        status, _, error = self._systemctl(*words)
        if status:
            raise FleetError(f"systemctl {' '.join(words)} failed", found=" ".join(error.split()))

    def _systemctl(self, *words: str) -> tuple[int, str, str]:
        environment = {"PATH": PATH, "LC_ALL": "C"}
        try:
            done = subprocess.run(
                ["systemctl", *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                env=environment,
            )
        except FileNotFoundError:
            return 127, "", "no systemctl on this host"
        return done.returncode, done.stdout, done.stderr


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as source:  # root's own folders, and the kernel's
            return source.read(SMALL)
    except OSError:
        return None


def _digest(path: str) -> str:
    """sha256 of a plain file's content; "" when it is none."""
    try:
        source, _ = open_plain(path)
    except OSError:
        return ""
    with source:
        found = hashlib.sha256()
        while block := source.read(SMALL):
            found.update(block)
        return found.hexdigest()


def _owned(path: str, user: str) -> bool:
    try:
        return os.path.isdir(path) and os.stat(path).st_uid == pwd.getpwnam(user).pw_uid
    except (OSError, KeyError):
        return False


def _processes(unit: str) -> list[str]:
    """Process numbers that are still in the unit's control group, on cgroup v2 and v1."""
    for root in CGROUPS:
        text = _text(f"{root}/system.slice/{unit}.service/cgroup.procs")
        if text:
            return text.split()
    return []


def _write(path: Path, text: str) -> None:
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        os.fchmod(descriptor, 0o644)
        out.write(text)
        out.flush()
        os.fsync(descriptor)
    os.replace(aside, path)
