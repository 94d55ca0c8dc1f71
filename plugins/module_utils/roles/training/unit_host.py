"""The host's side of a training's unit: does the steps. Runs as root under the system's Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ...core.errors import FleetError
from ...peers import secret
from ...system import files, folders, units
from . import files as unit_files
from . import folders as unit_folders
from .have import Have
from .read import read, text_of
from .want import Want

CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")


class UnitHost(Protocol):
    """Interface to a host for converge()."""

    def read(self, want: Want) -> Have: ...
    def do(self, step: str, want: Want) -> None: ...
    def stopped(self, want: Want) -> None: ...
    def settled(self, want: Want, seconds: float) -> Have: ...


class Host:
    """The real one."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep, secret: str = "") -> None:
        """`secret`: of the run, when it is to be placed."""
        self._sleep, self._secret = sleep, secret

    def read(self, want: Want) -> Have:
        return read(want)

    def do(self, step: str, want: Want) -> None:
        """One step of unit.steps_to(). Raises FleetError when the host did not follow."""
        if step.startswith("disable "):
            units.must("disable", f"{step.partition(' ')[2]}.service")
            return
        {
            "folders": lambda: unit_folders.make(want),
            "payload": lambda: unit_files.place_payload(want),
            "spec": lambda: unit_files.write(Path(want.spec_path), want.spec().encode()),
            "evaluation": lambda: self._write_evaluation(want),
            "secret": lambda: self._place_secret(want),
            "write": lambda: self._write(want),
            "remove": lambda: self._remove(want),
            "unfinish": lambda: files.remove(f"{want.record}/finished"),
            "forget": lambda: folders.remove_tree(want.record),
            "reload": lambda: units.must("daemon-reload"),
            "enable": lambda: units.must("enable", f"{want.unit}.service"),
            "disable": lambda: units.must("disable", f"{want.unit}.service"),
            "start": lambda: self._start(want),
            "merge": lambda: units.must("start", "--no-block", f"{want.unit}-merge.service"),
            "evaluate": lambda: units.must("start", "--no-block", f"{want.unit}-evaluation.service"),
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
        unit_files.write(Path(want.gpu_path), want.texts.gpu.encode())
        unit_files.write(Path(want.path), want.texts.unit.encode())
        for path, text in {want.merge_path: want.texts.merge, want.evaluation_path: want.texts.evaluation}.items():
            if text:
                unit_files.write(Path(path), text.encode())
            else:
                files.remove(path)

    def _write_evaluation(self, want: Want) -> None:
        if want.evaluates:
            unit_files.write(Path(want.evaluation_spec_path), want.evaluation_spec().encode())
        else:
            files.remove(want.evaluation_spec_path)

    def _remove(self, want: Want) -> None:
        for name in ("merge", "evaluation"):  # in this order: the end of a merge starts the evaluation
            units.systemctl("stop", f"{want.unit}-{name}.service")
        files.remove(want.path, want.gpu_path, want.merge_path, want.evaluation_path)

    def _place_secret(self, want: Want) -> None:
        """A running training keeps the secret of its start."""
        if not secret.is_secret(self._secret):
            raise FleetError("the run needs a new secret, but none was given", variable="topology")
        unit_files.write(Path(want.secret_path), f"{self._secret}\n".encode(), mode=0o600)

    def _start(self, want: Want) -> None:
        # A person's start is not one of the tries in a row, and may follow a repair.
        files.remove(f"{want.own}/tries.json", f"{want.record}/kernel")
        units.systemctl("reset-failed", f"{want.unit}.service")
        done = units.systemctl("start", "--no-block", f"{want.unit}.service")
        if not done:
            raise FleetError(f"systemd could not start {want.unit}", found=" ".join(done.err.split()))

    def _stop(self, want: Want) -> None:
        """Asks for the end: after the next save, or at once when the settings say so. Does not wait for it."""
        if want.settings["training_stop"] == "now":
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


def _processes(unit: str) -> list[str]:
    """Process numbers that are still in the unit's control group, on cgroup v2 and v1."""
    for root in CGROUPS:
        text = text_of(f"{root}/system.slice/{unit}.service/cgroup.procs")
        if text:
            return text.split()
    return []
