"""The host lock: one controller at a time changes a host.

While a module works, its process holds the lock; the kernel takes it back when that process ends, however it ends.
Between two calls of one playbook the record beside it keeps the host for that controller, for a while. It lies in /run,
so that it does not outlive a boot.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ..core import wire
from ..core.errors import FleetError
from . import files, folders

ARGUMENT = {"controller": {"type": "dict", "default": {}}}  # of a module that changes a host
FOLDER = "/run/canvas-fleet"
LEASE = 900.0  # seconds of the host's clock after the last call of a controller
NOBODY = "nobody"  # the last holder of a host that none has held since its boot
OWN_WAIT = 300.0  # seconds for an earlier call of the same controller, whose connection was lost


@dataclass(frozen=True)
class Controller:
    """The asking controller. `over`: a holder that has ended. `seen`: the last holder when the plan was made."""

    id: str = ""
    who: str = ""  # user@host, for people
    place: str = ""  # the controller's machine, its boot, its process: whether that is gone is judged over there
    boot: str = ""
    space: str = ""
    pid: str = ""
    started: str = ""
    over: str = ""
    seen: str = ""


@dataclass(frozen=True)
class Lock:
    """The record. `until`: in seconds of this boot."""

    holder: Controller = Controller()
    since: str = ""
    until: float = 0.0
    boot: str = ""

    def keeps_out(self, controller: Controller) -> bool:
        others = self.holder.id not in ("", controller.id, controller.over)
        return others and self.boot == _boot() and time.monotonic() < self.until


class HostLockedError(FleetError):
    """Another controller works on the host, or has worked on it since the plan."""

    def __init__(self, lock: Lock, code: str) -> None:
        done = "works here" if code == "HOST_LOCKED" else "changed this host"
        found = f"{lock.holder.who or 'another controller'} {done} since {lock.since or 'a moment ago'}"
        super().__init__("another controller changes this host", code=code, found=found,
                         expected="one controller at a time", remedy=REMEDIES[code])  # fmt: skip
        self.holder = lock.holder

    def as_result(self) -> dict[str, Any]:
        return {**super().as_result(), "holder": asdict(self.holder)}


REMEDIES = {
    "HOST_LOCKED": "run again when the other playbook has ended; the lock of a killed controller ends at once on "
    f"its own machine, and after {LEASE / 60:.0f} min elsewhere",
    "HOST_CHANGED": "run again, so that the plan sees the present state",
}


class Hold:
    """A mark that a call can set for the time after it."""

    over = False  # this controller will change nothing more


@contextmanager
def held(asked: Mapping[str, Any], folder: str = FOLDER) -> Iterator[Hold]:
    """Lock the host for this controller during the block and for a lease after it, unless the block fails or sets
    `over`.

    A dry run has no controller and locks nothing. Raises HostLockedError at once when another one holds the host.
    """
    controller, hold = wire.from_dict(Controller, dict(asked)), Hold()
    if not controller.id:
        yield hold
        return
    folders.make_open(folder)
    with _alone(controller, folder):
        lock = read(folder)
        if lock.keeps_out(controller):
            raise HostLockedError(lock, "HOST_LOCKED")
        if controller.seen and lock.holder.id not in ("", controller.seen, controller.id, controller.over):
            raise HostLockedError(lock, "HOST_CHANGED")
        _keep(folder, lock, controller, LEASE)
        try:
            yield hold
        except BaseException:
            hold.over = True
            raise
        finally:
            _keep(folder, read(folder), controller, 0.0 if hold.over else LEASE)


def read(folder: str = FOLDER) -> Lock:
    """The record; an empty one if it is missing."""
    return wire.from_record(Lock, files.load(os.path.join(folder, "host.json"), follow=False)) or Lock()


def observed(asked: Mapping[str, Any], folder: str = FOLDER) -> dict[str, str]:
    """The last and the present holder of the host. Releases a lock of this controller, which only observes."""
    lock, controller = read(folder), wire.from_dict(Controller, dict(asked))
    if controller.id and lock.holder.id == controller.id and lock.until:
        _keep(folder, lock, controller, 0.0)
    held_by = lock.holder if lock.keeps_out(controller) else Controller()
    return {**asdict(held_by), "last": lock.holder.id or NOBODY, "since": lock.since}


def _keep(folder: str, lock: Lock, controller: Controller, seconds: float) -> None:
    new = lock.holder.id != controller.id or not lock.until
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()) if new else lock.since
    until = time.monotonic() + seconds if seconds else 0.0
    files.save(os.path.join(folder, "host.json"), asdict(Lock(controller, since, until, _boot())), durable=False)


@contextmanager
def _alone(controller: Controller, folder: str) -> Iterator[None]:
    path, until = os.path.join(folder, "host.lock"), time.monotonic() + OWN_WAIT
    while True:
        try:
            with files.locked(path, wait=False):
                yield
                return
        except BlockingIOError:
            lock = read(folder)
            if lock.holder.id != controller.id or time.monotonic() > until:
                raise HostLockedError(lock, "HOST_LOCKED") from None
        time.sleep(0.2)


def _boot() -> str:
    return files.kernel("/proc/sys/kernel/random/boot_id").decode().strip()
