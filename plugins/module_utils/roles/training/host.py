"""The host's side of a training's unit: reads its state, does the steps. Runs as root under the system's Python."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ...core.errors import FleetError
from ...system.plain_file import open_plain
from . import files
from . import folders as unit_folders
from .steps import SHOWN, Have, parse_show, parse_started
from .text import render, render_gpu
from .want import Want

SMALL = 1 << 20  # bytes; scripts and yaml are far below
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")


class UnitHost(Protocol):
    """What converge() needs of a host."""

    def read(self, want: Want) -> Have: ...
    def do(self, step: str, want: Want) -> None: ...
    def stopped(self, want: Want) -> None: ...
    def settled(self, want: Want, seconds: float) -> Have: ...


class Systemd:
    """The real host."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def read(self, want: Want) -> Have:
        shown = parse_show(self._systemctl("show", *(f"-p{name}" for name in SHOWN), f"{want.unit}.service")[1])
        active, sub = _soon(shown)
        return Have(
            text=_text(want.path),
            gpu=_text(want.gpu_path),
            spec=_text(want.spec_path),
            payloads=tuple(_names(want.payloads)),
            load=shown.get("LoadState", "not-found"),
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
            started=parse_started(_text(f"{want.record}/started") or ""),
            ended=(_text(f"{want.record}/ended") or "").strip(),
            digests={path: digest for path in want.watched if (digest := _digest(path))},
            strays=_strays(want),
            others=self._others(want),
        )

    def _others(self, want: Want) -> dict[str, str]:
        """Units of other runs that have a record here, as Have.others."""
        units = [f"{name}.service" for name in _names(os.path.dirname(want.record)) if name != want.unit]
        if not units:
            return {}
        text = self._systemctl("show", "-pId", "-pActiveState", "-pUnitFileState", *units)[1]
        shown = [parse_show(block) for block in text.split("\n\n") if block.strip()]
        return {
            told["Id"].rpartition(".")[0]: told["ActiveState"]
            for told in shown
            if told["UnitFileState"] == "enabled" or told["ActiveState"] not in ("inactive", "failed")
        }

    def do(self, step: str, want: Want) -> None:
        """One step of unit.decide(). Raises FleetError when the host did not follow."""
        if step.startswith("disable "):
            self._must("disable", f"{step.partition(' ')[2]}.service")
            return
        {
            "folders": lambda: unit_folders.make(want),
            "payload": lambda: files.place_payload(want),
            "spec": lambda: files.write(Path(want.spec_path), want.spec().encode()),
            "write": lambda: self._write(want),
            "remove": lambda: _remove(want.path, want.gpu_path),
            "unfinish": lambda: os.unlink(f"{want.record}/finished"),
            "forget": lambda: shutil.rmtree(want.record),
            "reload": lambda: self._must("daemon-reload"),
            "enable": lambda: self._must("enable", f"{want.unit}.service"),
            "disable": lambda: self._must("disable", f"{want.unit}.service"),
            "start": lambda: self._start(want),
            "stop": lambda: self._stop(want),
        }[step]()

    def settled(self, want: Want, seconds: float) -> Have:
        """The state once a start is proved or over, or a stop is done; as it is after `seconds` at the latest."""
        until = time.monotonic() + seconds
        while True:
            have = self.read(want)
            if not (have.starting or have.phase == "stopping") or time.monotonic() >= until:
                return have
            self._sleep(min(0.25, seconds))

    def _write(self, want: Want) -> None:
        files.write(Path(want.gpu_path), render_gpu(want).encode())
        files.write(Path(want.path), render(want).encode())

    def _start(self, want: Want) -> None:
        # A person's start is not one of the tries in a row, and may follow a repair.
        _remove(f"{want.own}/tries.json", f"{want.record}/kernel")
        self._systemctl("reset-failed", f"{want.unit}.service")
        status, _, error = self._systemctl("start", "--no-block", f"{want.unit}.service")
        if status:
            raise FleetError(f"systemd could not start {want.unit}", found=" ".join(error.split()))

    def _stop(self, want: Want) -> None:
        """Asks for the end: after the next save, or at once when the settings say so. Does not wait for it."""
        if want.stop == "now":
            self._systemctl("kill", "--kill-who=main", "--signal=INT", f"{want.unit}.service")
        self._must("stop", "--no-block", f"{want.unit}.service")

    def stopped(self, want: Want) -> None:
        """A stop is done: none of its processes may be left. Raises FleetError when one is."""
        left = _processes(want.unit)
        if left:
            raise FleetError(
                f"processes of {want.unit} outlived the stop",
                found="process " + ", ".join(left),
                remedy="a process in the kernel's hands (state D in ps) ends with the GPU's or disk's driver",
            )
        # A trainer that had to be killed would be listed as a failure for ever, although its stop was wanted.
        self._systemctl("reset-failed", f"{want.unit}.service")

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


def _soon(shown: Mapping[str, str]) -> tuple[str, str]:
    """ActiveState and SubState; of a unit whose start or stop still waits in systemd's queue, those to come."""
    active, sub = shown.get("ActiveState", "inactive"), shown.get("SubState", "dead")
    if shown.get("Job", "") not in ("", "0"):
        return {"inactive": ("activating", "queued"), "failed": ("activating", "queued"),
                "active": ("deactivating", "queued")}.get(active, (active, sub))  # fmt: skip
    return active, sub


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


def _strays(want: Want) -> dict[str, str]:
    inside = [os.path.realpath(path) for path in want.writable]
    real = {path: os.path.realpath(path) for path in (want.checkpoint_dir, want.kept)}
    return {path: at for path, at in real.items() if not any(os.path.commonpath([at, one]) == one for one in inside)}


def _processes(unit: str) -> list[str]:
    """Process numbers that are still in the unit's control group, on cgroup v2 and v1."""
    for root in CGROUPS:
        text = _text(f"{root}/system.slice/{unit}.service/cgroup.procs")
        if text:
            return text.split()
    return []


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
