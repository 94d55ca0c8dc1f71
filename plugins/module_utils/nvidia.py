"""The room nvidia: GPUs, driver and CUDA toolkit of a host.

A driver that works and is new enough is left alone, whoever installed it; so is a host that has no GPU by its user's
own word.
"""

from __future__ import annotations

import glob
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils import cuda_table, nvidia_smi
from ansible_collections.canvas.fleet.plugins.module_utils.facts import os_release
from ansible_collections.canvas.fleet.plugins.module_utils.findings import Finding, finding
from ansible_collections.canvas.fleet.plugins.module_utils.room import RoomPlan, RunShape

PROFILE = "/etc/profile.d/canvas-fleet-cuda.sh"
VENDOR = "0x10de"
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
MODULE_FILES = ("updates/dkms", "extra", "extra/*", "weak-updates/*", "kernel/drivers/video", "kernel/nvidia-*")
# Kinds of trouble that another installation does not mend.
BY_HAND = ("fallen_off", "no_permission", "no_device", "unknown")


def observe(settings: Mapping[str, Any], root: str = "/") -> dict[str, Any]:
    """What nvidia-smi says, what sits on the PCI bus, and what is installed. `root` is / but for tests."""
    kernel = platform.release()
    devices = pci_devices(root)
    home = str(settings["nvidia_cuda_home"])
    folders = [os.path.join(root, "lib/modules", kernel, place, "nvidia.ko*") for place in MODULE_FILES]
    return {
        **nvidia_smi.observe_gpus(),
        "devices": [device for device, kind in devices if kind.startswith("0x03")],
        "nvswitches": sum(kind.startswith("0x0680") for _, kind in devices),
        "loaded": read(root, "proc/driver/nvidia/version").split("\n")[0],
        "module_installed": any(glob.glob(folder) for folder in folders),
        "nouveau": any(line.startswith("nouveau ") for line in read(root, "proc/modules").splitlines()),
        "secure_boot": read(root, SECURE_BOOT)[-1:] == "\x01",
        "toolkit": os.access(os.path.join(root, home.lstrip("/"), "bin/nvcc"), os.X_OK),
        "toolkits": sorted(os.path.basename(path) for path in glob.glob(os.path.join(root, "usr/local/cuda-[0-9]*"))),
        "profile": read(root, PROFILE),
        "kernel": kernel,
        "machine": platform.machine(),
        "release": {
            key: value for key, value in os_release(read(root, "etc/os-release")).items() if key in ("ID", "VERSION_ID")
        },
    }


def read(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path.lstrip("/")), encoding="latin-1") as stream:
            return stream.read()
    except OSError:
        return ""


def pci_devices(root: str) -> list[tuple[int, str]]:
    """(device number, class) of each PCI device of NVIDIA's, without lspci."""
    found = []
    for folder in sorted(glob.glob(os.path.join(root, "sys/bus/pci/devices/*"))):
        vendor, device, kind = (read(folder, name).strip() for name in ("vendor", "device", "class"))
        if vendor == VENDOR:
            found.append((int(device, 16), kind))
    return found


def profile_text(cuda_home: str) -> str:
    """The guide's three variables for login shells."""
    return (
        "# Written by canvas-fleet (role nvidia); changes made here are overwritten.\n"
        f"export CUDA_HOME={cuda_home}\n"
        'export PATH="$CUDA_HOME/bin:$PATH"\n'
        'export LD_LIBRARY_PATH="$CUDA_HOME/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n'
    )


@dataclass(frozen=True)
class Driver:
    """What the driver needs: its packages, a restart, or a person (findings)."""

    reasons: tuple[str, ...] = ()
    install: bool = False
    restart: bool = False
    findings: tuple[Finding, ...] = ()


def decide(seen: Mapping[str, Any], settings: Mapping[str, Any], shape: RunShape | None) -> RoomPlan:
    """Reasons to install or to restart, and what is wrong with the GPUs. Pure."""
    if not settings["nvidia_gpu_expected"]:
        return RoomPlan(summary="nothing to do: no GPU, by nvidia_gpu_expected")
    driver = judge_driver(seen, settings)
    if any(found.severity == "error" for found in driver.findings):
        return RoomPlan(reasons=driver.reasons or ("the driver does not work",), findings=driver.findings)
    reasons = list(driver.reasons)
    findings = [*driver.findings, *(found for gpu in seen["gpus"] for found in judge_gpu(gpu, settings))]
    home, cuda = str(settings["nvidia_cuda_home"]), str(settings["nvidia_cuda_version"])
    toolkit = bool(settings["nvidia_toolkit"]) and not seen["toolkit"]
    if toolkit:
        reasons.append(
            f"no CUDA toolkit at {home}" + (f" (there is {', '.join(seen['toolkits'])})" if seen["toolkits"] else "")
        )
    profile = profile_text(home) if seen["toolkit"] or toolkit else ""
    if profile and seen["profile"] != profile:
        reasons.append(f"{PROFILE} {'differs' if seen['profile'] else 'is missing'}")
    values: dict[str, Any] = {"packages": [], "restart": driver.restart, "profile": profile, "system": ""}
    if driver.install or toolkit:
        packages, wrong = needed(seen, settings, driver.install, toolkit)
        findings += wrong
        values.update(packages=packages, system=getattr(cuda_table.system(seen["release"]), "name", ""))
    summary = f"nothing to do: {seen['detail']} serves CUDA {cuda}" if not reasons else ""
    return RoomPlan(reasons=tuple(reasons), findings=tuple(findings), values=values, summary=summary)


def judge_driver(seen: Mapping[str, Any], settings: Mapping[str, Any]) -> Driver:
    cuda, branch = str(settings["nvidia_cuda_version"]), str(settings["nvidia_driver_branch"])
    if seen["state"] == "works":
        have = seen["gpus"][0]["driver_version"]
        if cuda_table.driver_suffices(have, cuda):
            return Driver()
        return Driver(
            (f"driver {have} is too old for CUDA {cuda}: branch {branch} instead",), install=True, restart=True
        )
    if not seen["devices"]:
        expected = "at least one NVIDIA GPU"
        found = f"no NVIDIA device on the PCI bus ({seen['detail']})"
        return Driver(findings=(finding("NO_GPU", variable="nvidia_gpu_expected", found=found, expected=expected),))
    if seen["state"] == "broken" and seen["trouble"] in BY_HAND:
        return Driver(
            findings=(finding("NVIDIA_DRIVER_BROKEN", found=seen["detail"], expected="nvidia-smi lists the GPUs"),)
        )
    secure = secure_boot(seen)
    if seen["trouble"] == "mismatch" or seen["module_installed"]:
        return restart(seen, settings, secure)
    count = f"{len(seen['devices'])} NVIDIA GPU{'s' if len(seen['devices']) > 1 else ''}"
    return Driver((f"{count} without a driver: branch {branch} is installed",), True, bool(seen["nouveau"]), secure)


def restart(seen: Mapping[str, Any], settings: Mapping[str, Any], secure: tuple[Finding, ...]) -> Driver:
    """The driver is installed and the running kernel does not use it."""
    reason = "the installed driver is not the one that runs: " + seen["detail"]
    if settings["nvidia_reboot"] == "when_needed":
        return Driver((reason,), restart=True, findings=secure)
    need = finding("NVIDIA_REBOOT_NEEDED", found=seen["detail"], expected="a restart", variable="nvidia_reboot")
    return Driver((reason,), restart=True, findings=(need, *secure))


def secure_boot(seen: Mapping[str, Any]) -> tuple[Finding, ...]:
    if not seen["secure_boot"]:
        return ()
    return (finding("SECURE_BOOT_ON", found="Secure Boot is on", expected="off, or the build's key enrolled"),)


def judge_gpu(gpu: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Finding]:
    """What would spoil a training on this GPU. Programs of our own environment don't count as others."""
    found, name = [], f"GPU {gpu['index']} ({gpu['name']})"
    own = str(settings.get("conda_env_root") or "\0")
    others = [process for process in gpu["busy_processes"] if not process.startswith(own)]
    if gpu["mig"]:
        found.append(finding("GPU_MIG_ON", found=f"{name}: MIG is on", expected="off"))
    if gpu["ecc_errors"]:
        text = f"{name}: {gpu['ecc_errors']} uncorrected memory errors since the driver was loaded"
        found.append(finding("GPU_ECC_ERRORS", found=text, expected="none"))
    if others:
        found.append(finding("GPU_BUSY", found=f"{name}: {', '.join(others)}", expected="no other process"))
    return found


def needed(
    seen: Mapping[str, Any], settings: Mapping[str, Any], driver: bool, toolkit: bool
) -> tuple[list[str], list[Finding]]:
    """Packages by distribution and GPU, and what stands against them."""
    system = cuda_table.system(seen["release"])
    if system is None or seen["machine"] != "x86_64":
        at = f"{seen['release'].get('ID')} {seen['release'].get('VERSION_ID', '')} on {seen['machine']}"
        return [], [finding("NVIDIA_SYSTEM_UNKNOWN", found=at, expected="a distribution of the table")]
    packages: list[str] = []
    if driver:
        branch, wrong = str(settings["nvidia_driver_branch"]), too_new(seen["devices"], settings)
        if wrong:
            return [], wrong
        try:
            module = cuda_table.kernel_module(seen["devices"])
        except ValueError as error:
            return [], [finding("NVIDIA_SYSTEM_UNKNOWN", found=str(error), expected="GPUs that one driver serves")]
        packages += cuda_table.driver_packages(system, branch, module, seen["kernel"], seen["nvswitches"] > 0)
    if toolkit:
        packages.append(cuda_table.toolkit_package(str(settings["nvidia_cuda_version"])))
    return packages, []


def too_new(devices: list[int], settings: Mapping[str, Any]) -> list[Finding]:
    """GPUs that the wanted driver branch does not know yet."""
    branch = cuda_table.version_tuple(str(settings["nvidia_driver_branch"]))[:1] or (0,)
    known = (cuda_table.generation(device) for device in devices)
    newer = [item for item in known if item and item.first_branch > branch[0]]
    if not newer:
        return []
    return [
        finding(
            "VARIABLE_INVALID",
            variable="nvidia_driver_branch",
            found=f"nvidia_driver_branch: {settings['nvidia_driver_branch']}",
            expected=f"{newer[0].first_branch} or newer, for {newer[0].name}",
        )
    ]
