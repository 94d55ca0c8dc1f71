"""Long work of the role nvidia: packages of driver and toolkit, holds, initramfs, services, and their removal.

Runs as root under the system's Python. An interrupted call is continued by the next: it repairs apt's state first, and
apt keeps its downloads. The record of our packages is written before the first one is unpacked.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.errors import FleetError
from ...core.progress import Progress, log
from ...core.wire import from_dict
from ...machine.facts import os_release
from ...system import files, programs
from . import apt, dnf, observe, smi
from . import distributions as table
from . import files as nvidia_files
from . import packages as nvidia_packages
from .files import File
from .order import WorkOrder

DRIVERS = ("nvidia-open", "cuda-drivers", "@nvidia-driver")
INITRAMFS = (("update-initramfs", "-u"), ("dracut", "--force"))


def preview(spec: Any) -> list[str]:
    """What work() would do on this host; changes nothing."""
    return planned(from_dict(WorkOrder, spec))


def planned(order: WorkOrder) -> list[str]:
    if order.absent:
        here = [path for path in ours() if os.path.exists(path)]
        kept = recorded(order)
        return [f"remove {path}" for path in here] + ([f"remove {', '.join(kept)}"] if kept else [])
    steps = [f"remove {path}" for path in order.remove]
    steps += [f"install {', '.join(order.packages)}"] if order.packages else []
    steps += [f"hold {', '.join(order.hold)}"] if order.hold else []
    return steps + [f"start {name}" for name in order.services]


def work(spec: Any, progress: Progress) -> dict[str, Any]:
    """`spec`: a WorkOrder as plain data. Returns changed, installed (new packages), held."""
    order = from_dict(WorkOrder, spec)
    if order.absent:
        return absent(order)
    if nvidia_files.exchanged(order.packages):
        refuse_training("a training runs, so the driver is not replaced; nothing was changed")
    files.remove(*order.remove)  # before apt is asked anything, or it refuses all of it
    wanted = [File(item.path, base64.b64decode(item.data)) for item in order.files]
    installed: list[str] = []
    if order.packages:
        installed = bring(order, wanted, progress)
    else:
        write(wanted)
    held = hold(order)
    for name in services(order):
        programs.must("systemctl", "enable", "--now", f"{name}.service")
    return {"changed": True, "installed": installed, "held": held}


def write(wanted: Sequence[File]) -> None:
    for file in wanted:
        if file.current != file.data:
            file.write()


def bring(order: WorkOrder, wanted: Sequence[File], progress: Progress) -> list[str]:
    """Remove a source that cannot be used, because it would also stop the host's own updates."""
    before = [(file, file.current) for file in wanted]
    write(wanted)
    try:
        names, fresh = chosen(order, progress)
    except (FleetError, OSError):
        for file, data in before:
            if recorded(order) and data is not None:
                File(file.path, data).write()
            else:
                files.remove(file.path)
        raise
    if order.family == "debian":
        remember(order, fresh)
        apt.install(names, progress)
    else:
        fresh = dnf_bring(order, fresh, progress)
    if any(name.startswith(DRIVERS) for name in order.packages):
        progress(0, 0, "", "initramfs without nouveau")
        rebuild()
        run_quietly("modprobe", "nvidia")  # works at once where nouveau never ran; else the restart does it
    return fresh["packages"]


def chosen(order: WorkOrder, progress: Progress) -> tuple[list[str], dict[str, list[str]]]:
    """Packages in the manager's notation, and the new ones among them (apt.simulated)."""
    if order.family != "debian":
        dnf.refresh(order.source, progress)
        return list(order.packages), {"packages": dnf.new(order.packages, dnf.installed()), "others": []}
    apt.refresh(order.source, progress)
    names = apt.exact(order.packages, order.driver_version, order.branch)
    return names, apt.simulated(names)


def dnf_bring(order: WorkOrder, fresh: Mapping[str, list[str]], progress: Progress) -> dict[str, list[str]]:
    """The record has the requested names until dnf has finished; only then its packages are known."""
    earlier, before = recorded(order), dnf.installed()
    remember(order, fresh)
    locks = recorded(order, "locks") if nvidia_files.exchanged(order.packages) else []
    dnf.unlock(locks)
    try:
        dnf.install(order.packages, progress)
    except (FleetError, OSError):
        if locks:  # the driver that is still here
            dnf.lock(earlier)
        raise
    brought = dnf.brought(before, order.source)
    nvidia_files.remember(order.state_dir, packages=sorted({*earlier, *brought}))
    return {"packages": brought}


def hold(order: WorkOrder) -> list[str]:
    """The packages of the driver that we installed, and those that were asked for."""
    if order.family != "debian":
        if order.hold_new and order.packages:
            locks = dnf.lock(recorded(order))
            nvidia_files.remember(order.state_dir, locks=sorted({*recorded(order, "locks"), *locks}))
        return []
    names = list(order.hold)
    if order.hold_new and order.packages:
        here = nvidia_packages.installed()
        names += [name for name in recorded(order) if name in here and not here[name].held]
    apt.hold(sorted(set(names)))
    return sorted(set(names))


def services(order: WorkOrder) -> list[str]:
    """Requested services and those of new packages; without a driver they cannot start yet."""
    wanted = list(order.services)
    if order.packages and smi.observe_gpus().state == "works":
        wanted += [name for name, state in nvidia_packages.services().items() if state != "active"]
    elif order.packages:
        for name in nvidia_packages.services():
            programs.must("systemctl", "enable", f"{name}.service")
    return sorted(set(wanted))


def rebuild() -> None:
    """Rebuild the initramfs, so that nouveau is not loaded at the next boot."""
    for command in INITRAMFS:
        if programs.find(command[0]):
            programs.must(*command)
            return


def run_quietly(*argv: str) -> None:
    try:
        programs.must(*argv)
    except (FleetError, OSError) as error:
        log(error)


def recorded(order: WorkOrder, kind: str = "packages") -> list[str]:
    return list(getattr(observe.record("/", order.state_dir), kind))


def remember(order: WorkOrder, fresh: Mapping[str, Sequence[str]]) -> None:
    kept = {kind: sorted({*recorded(order, kind), *names}) for kind, names in fresh.items()}
    nvidia_files.remember(order.state_dir, **kept)


def ours() -> list[str]:
    """Every file that the role may have written outside its state."""
    return [*nvidia_packages.KEYRINGS.values(), *nvidia_files.PLACES, nvidia_files.NOUVEAU_PATH, observe.PROFILE]


def refuse_training(what: str) -> None:
    running = nvidia_files.trainings()
    if running:
        raise FleetError(what, found=", ".join(running), remedy="stop it first (playbooks/stop.yml)")


def family() -> str:
    """debian or el; "" for an unsupported distribution. A host may have both package managers."""
    found = table.system(os_release(nvidia_packages.read("/", "etc/os-release")))
    return found.family if found else ""


def absent(order: WorkOrder) -> dict[str, Any]:
    """Remove our packages, then our files. A driver that was installed before stays."""
    refuse_training("a training runs, so the driver is not removed")
    steps = planned(order)
    names = recorded(order)
    if names and family() == "debian":
        apt.configure()
        apt.remove(names, recorded(order, "others"))
    elif names:
        dnf.remove(names, recorded(order, "locks"))
    nouveau = os.path.exists(nvidia_files.NOUVEAU_PATH)
    files.remove(*ours(), os.path.join(order.state_dir, observe.RECORD))
    if nouveau:
        rebuild()
    return {"changed": bool(steps), "done": steps, "installed": [], "held": []}
