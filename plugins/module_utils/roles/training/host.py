"""The host's side of a training's unit: reads its state, does the steps. Runs as root under the system's Python."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ...core.errors import FleetError
from ...system import digests, files, folders, units
from . import files as unit_files
from . import folders as unit_folders
from .steps import SHOWN, Have, parse_started
from .text import render, render_gpu
from .want import Want

SMALL = 1 << 20  # bytes; scripts and yaml are far below
CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")


class UnitHost(Protocol):
    """What converge() needs of a host."""

    def read(self, want: Want) -> Have: ...
    def do(self, step: str, want: Want) -> None: ...
    def stopped(self, want: Want) -> None: ...
    def settled(self, want: Want, seconds: float) -> Have: ...


class Host:
    """The real one."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def read(self, want: Want) -> Have:
        shown = next(iter(units.show(SHOWN, f"{want.unit}.service")), {})
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
        names = [f"{name}.service" for name in _names(os.path.dirname(want.record)) if name != want.unit]
        shown = units.show(("Id", "ActiveState", "UnitFileState"), *names) if names else []
        return {
            told["Id"].rpartition(".")[0]: told["ActiveState"]
            for told in shown
            if told["UnitFileState"] == "enabled" or told["ActiveState"] not in ("inactive", "failed")
        }

    def do(self, step: str, want: Want) -> None:
        """One step of unit.decide(). Raises FleetError when the host did not follow."""
        if step.startswith("disable "):
            units.must("disable", f"{step.partition(' ')[2]}.service")
            return
        {
            "folders": lambda: unit_folders.make(want),
            "payload": lambda: unit_files.place_payload(want),
            "spec": lambda: unit_files.write(Path(want.spec_path), want.spec().encode()),
            "write": lambda: self._write(want),
            "remove": lambda: files.remove(want.path, want.gpu_path),
            "unfinish": lambda: files.remove(f"{want.record}/finished"),
            "forget": lambda: folders.remove_tree(want.record),
            "reload": lambda: units.must("daemon-reload"),
            "enable": lambda: units.must("enable", f"{want.unit}.service"),
            "disable": lambda: units.must("disable", f"{want.unit}.service"),
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
        unit_files.write(Path(want.gpu_path), render_gpu(want).encode())
        unit_files.write(Path(want.path), render(want).encode())

    def _start(self, want: Want) -> None:
        # A person's start is not one of the tries in a row, and may follow a repair.
        files.remove(f"{want.own}/tries.json", f"{want.record}/kernel")
        units.systemctl("reset-failed", f"{want.unit}.service")
        done = units.systemctl("start", "--no-block", f"{want.unit}.service")
        if not done:
            raise FleetError(f"systemd could not start {want.unit}", found=" ".join(done.err.split()))

    def _stop(self, want: Want) -> None:
        """Asks for the end: after the next save, or at once when the settings say so. Does not wait for it."""
        if want.stop == "now":
            units.systemctl("kill", "--kill-who=main", "--signal=INT", f"{want.unit}.service")
        units.must("stop", "--no-block", f"{want.unit}.service")

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
        units.systemctl("reset-failed", f"{want.unit}.service")


def _soon(shown: Mapping[str, str]) -> tuple[str, str]:
    """ActiveState and SubState; of a unit whose start or stop still waits in systemd's queue, those to come."""
    active, sub = shown.get("ActiveState", "inactive"), shown.get("SubState", "dead")
    if shown.get("Job", "") not in ("", "0"):
        return {"inactive": ("activating", "queued"), "failed": ("activating", "queued"),
                "active": ("deactivating", "queued")}.get(active, (active, sub))  # fmt: skip
    return active, sub


def _text(path: str) -> str | None:
    try:
        return files.read(path, SMALL).decode("utf-8", "replace")
    except OSError:
        return None


def _digest(path: str) -> str:
    """sha256 of a plain file's content; "" when it is none."""
    try:
        return digests.of_file(path)
    except OSError:
        return ""


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
