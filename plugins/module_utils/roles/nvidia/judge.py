"""Judges parts of the driver: restart, Secure Boot, NVSwitch, holds, key, GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...core.settings import Settings
from ...findings.finding import Finding, finding
from ...machine import gpu_generations
from ...machine.gpu import Gpu
from . import distributions as table
from . import packages
from .observe import Observation
from .openpgp import shown
from .smi import TROUBLES

FABRIC = "nvidia-fabricmanager"
PERSISTENCE = "nvidia-persistenced"


@dataclass(frozen=True)
class Driver:
    """Needs of one part of the driver: packages, restart, service, hold, key, or findings."""

    reasons: tuple[str, ...] = ()
    install: bool = False
    restart: bool = False
    findings: tuple[Finding, ...] = ()
    fabric: bool = False  # fabric manager is to be installed
    services: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    key: bool = False  # the repository's key is to be fetched anew
    remove: tuple[str, ...] = ()  # files of ours that are in the way


def restart(seen: Observation, settings: Settings) -> Driver:
    """Findings about an installed driver that the running kernel does not use."""
    reason = "the installed driver is not the one that runs: " + seen.detail
    secure = secure_boot(seen)
    asked = seen.record.restart
    if asked and asked.fault == fault(seen) and asked.boot != seen.boot:
        found, expected = f"{seen.detail}; the restart that was asked for did not help", "a module that is loaded"
        remedy = secure[0].remedy if secure else "look at dmesg and dkms status on the host, then restart it yourself"
        broken = finding("NVIDIA_DRIVER_BROKEN", found=found, expected=expected, remedy=remedy)
        return Driver((reason,), findings=(broken, *secure))
    if settings["nvidia_reboot"] != "never":
        return Driver((reason,), restart=True, findings=secure)
    need = finding("NVIDIA_REBOOT_NEEDED", found=seen.detail, expected="a restart", variable="nvidia_reboot")
    return Driver((reason,), restart=True, findings=(need, *secure))


def fault(seen: Observation) -> str:
    """The reason for a restart. The same reason in a later boot means that the restart did not help."""
    return " ".join((seen.trouble, seen.kernel, seen.loaded)).strip()


def secure_boot(seen: Observation) -> tuple[Finding, ...]:
    if not seen.secure_boot:
        return ()
    return (finding("SECURE_BOOT_ON", found="Secure Boot is on", expected="off, or the build's key enrolled"),)


def counted(devices: Sequence[int]) -> str:
    return f"{len(devices)} NVIDIA GPU{'s' if len(devices) > 1 else ''}"


def judge_fabric(seen: Observation) -> Driver:
    """NVSwitch needs its fabric manager in the driver's exact version; every installed service must run."""
    if not seen.works:
        return Driver()
    services = seen.services
    idle = tuple(name for name in (PERSISTENCE,) if services.get(name, "active") != "active")
    asleep = tuple(f"{name} does not run" for name in idle)
    if not seen.nvswitches:
        return Driver(asleep, services=idle, findings=fabric_down(seen))
    driver = seen.gpus[0].driver_version
    have = {packages.upstream(p.version) for n, p in seen.packages.items() if n.startswith(FABRIC)}
    if FABRIC not in services or (have and driver not in have):
        found = f"fabric manager {', '.join(sorted(have)) or 'is missing'}"
        reason = f"{found}, the driver is {driver}: NVSwitch needs the same"
        return Driver((*asleep, reason), fabric=True, services=idle)
    if services[FABRIC] != "active":
        return Driver((*asleep, f"{FABRIC} does not run"), services=(*idle, FABRIC))
    return Driver(asleep, services=idle, findings=fabric_down(seen))


def fabric_down(seen: Observation) -> tuple[Finding, ...]:
    """GPUs whose fabric is down although nothing of ours is missing: on a rented slice the provider starts it."""
    waiting = [state for state in seen.fabric if state != "Completed"]
    if not waiting:
        return ()
    found = f"{len(waiting)} of {len(seen.fabric)} GPUs: fabric {waiting[0]}"
    return (finding("NVSWITCH_FABRIC_DOWN", found=found, expected="Completed on every GPU"),)


def judge_nvlink5(seen: Observation) -> Driver:
    """NVSwitches that are no PCI devices. No finding when every GPU's fabric is up already."""
    if not seen.nvlink5 or (seen.fabric and all(state == "Completed" for state in seen.fabric)):
        return Driver()
    found = f"{seen.nvlink5} ways to NVSwitches of NVLink 5 (ConnectX-7 with SW_MNG)"
    expected = "nvidia-fabricmanager, nvlsm, infiniband-diags and the module ib_umad"
    return Driver(findings=(finding("NVSWITCH_NVLINK5", found=found, expected=expected),))


def judge_holds(seen: Observation, settings: Settings) -> Driver:
    """Packages of the driver that an unattended update may change under a running training."""
    if not seen.works or not settings["nvidia_hold"]:
        return Driver()
    names = packages.of_version(seen.packages, seen.gpus[0].driver_version)
    loose = [name for name in names if not seen.packages[name].held]
    if not loose:
        return Driver()
    text = f"{len(loose)} package{'s' if len(loose) > 1 else ''} of the driver not held: {loose[0]}" + (
        ", …" if len(loose) > 1 else ""
    )
    if seen.record.packages:
        return Driver((text,), hold=tuple(loose))
    if not seen.upgrader:
        return Driver()
    note = finding("NVIDIA_DRIVER_NOT_HELD", found=f"{text}; unattended-upgrades is installed", expected="held")
    return Driver(findings=(note,))


def judge_key(seen: Observation, settings: Settings) -> Driver:
    """Findings about a changed key and about a foreign source with the same address."""
    if seen.foreign_source:
        note = finding("NVIDIA_SOURCE_FOREIGN", found=seen.foreign_source, expected="one source for one address")
        ours = seen.own_source
        if not ours:
            return Driver(findings=(note,))
        reason = f"two sources for one address, which apt refuses: {seen.foreign_source} and ours, which is removed"
        return Driver((reason,), findings=(note,), remove=(ours,))
    system = table.system(seen.release)
    if system is None or not seen.keyring:
        return Driver()
    wanted = fingerprint(system, settings)
    if seen.keyring == (wanted,):
        return Driver()
    found, wanted = f"NVIDIA's repository has the key with {shown(seen.keyring[0])}", shown(wanted)
    note = finding("NVIDIA_KEY_CHANGED", found=found, expected=wanted, variable="nvidia_repository_fingerprint")
    return Driver((f"{found}; wanted now: {wanted}",), findings=(note,), key=True)


def fingerprint(system: table.System, settings: Settings) -> str:
    """In capitals without spaces: the user's, else the table's."""
    return str(settings["nvidia_repository_fingerprint"] or system.fingerprint).replace(" ", "").upper()


def judge_gpu(gpu: Gpu, settings: Settings) -> list[Finding]:
    """Findings about one GPU. Programs below nvidia_busy_ignore_below do not count."""
    found, name = [], f"GPU {gpu.index} ({gpu.name})"
    own = str(settings["nvidia_busy_ignore_below"]).rstrip("/")
    others = [process for process in gpu.busy_processes if not (own and process.startswith(f"{own}/"))]
    if gpu.mig:
        found.append(finding("GPU_MIG_ON", found=f"{name}: MIG is on", expected="off"))
    if gpu.pending:
        found.append(finding("GPU_RESET_PENDING", found=f"{name}: {'; '.join(gpu.pending)}", expected="nothing"))
    if gpu.worn:
        text = f"{name}: a row of its memory cannot be replaced"
        found.append(finding("GPU_ECC_ERRORS", found=text, expected="spare rows"))
    if gpu.ecc_errors:
        text = f"{name}: {gpu.ecc_errors} uncorrected memory errors since the driver was loaded"
        found.append(finding("GPU_ECC_ERRORS", found=text, expected="none"))
    if others:
        found.append(finding("GPU_BUSY", found=f"{name}: {', '.join(others)}", expected="no other process"))
    return found


def judge_count(seen: Observation, settings: Settings) -> list[Finding]:
    """GPUs that are there and do not answer, by the bus, by the driver's own count, and by what nvidia-smi says."""
    if not seen.works:
        return []
    branch = gpu_generations.major(seen.gpus[0].driver_version)
    there = max(sum(gpu_generations.served(device, branch) for device in seen.devices), seen.attached)
    good = sum(1 for gpu in seen.gpus if gpu.memory_bytes)
    lost = any(kind == "fallen_off" and pattern.search(seen.said) for kind, pattern in TROUBLES)
    found = []
    if good < there or good < len(seen.gpus) or lost:
        text = f"{good} of {max(there, len(seen.gpus))} GPUs answer" + (f" ({seen.said})" if seen.said else "")
        judged = finding("GPU_MISSING", found=text, expected="every GPU answers", variable="run_config_processes")
        chosen = int(settings.get("run_config_processes") or 0)
        found.append(replace(judged, severity="warning") if 0 < chosen <= good and not lost else judged)
    elif seen.said:
        found.append(finding("NVIDIA_SMI_WARNS", found=seen.said, expected="its report alone"))
    return found


def judge_persistence(seen: Observation) -> list[Finding]:
    """A daemon that is installed and does not run is started by the role."""
    off = [str(gpu.index) for gpu in seen.gpus if not gpu.persistence]
    if not off or PERSISTENCE in seen.services:
        return []
    return [finding("NVIDIA_PERSISTENCE_OFF", found=f"persistence is off on GPU {', '.join(off)}", expected="on")]


def judge_devices(seen: Observation, settings: Settings) -> list[Finding]:
    """GPUs that the trainer can't use at all, or that the wanted CUDA has no code for."""
    cuda = str(settings["nvidia_cuda_version"])
    known = {item.name: item for item in map(gpu_generations.generation, seen.devices) if item}
    found = []
    for item in known.values():
        if item.capability < gpu_generations.TRAINER_NEEDS:
            have = f"{item.name}, compute capability {item.capability[0]}.{item.capability[1]}"
            found.append(finding("GPU_TOO_OLD", found=have, expected="8.0 or newer"))
        if not gpu_generations.cuda_knows(cuda, item):
            expected = f"{item.first_cuda} or newer, for {item.name} (and a torch that is built for it)"
            text = f"nvidia_cuda_version: {cuda}"
            found.append(finding("VARIABLE_INVALID", variable="nvidia_cuda_version", found=text, expected=expected))
    return found
