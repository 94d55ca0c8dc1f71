"""The plan's part about driver and toolkit. Runs on the controller, and in the role for what it is about to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.role_plan import RolePlan
from ...core.settings import Settings
from ...core.topology import Topology
from ...core.version import numbers
from ...findings.finding import Finding, finding
from ...machine import gpu_generations
from . import distributions as table
from .judge import (
    Driver,
    counted,
    judge_count,
    judge_devices,
    judge_fabric,
    judge_gpu,
    judge_holds,
    judge_key,
    judge_nvlink5,
    judge_persistence,
    restart,
    secure_boot,
)
from .observe import PROFILE, Observation

# Kinds of trouble that another installation does not mend.
BY_HAND = ("fallen_off", "no_permission", "no_device", "unknown")


def profile_text(cuda_home: str) -> str:
    """The guide's three variables for login shells."""
    return (
        "# Written by canvas-fleet (role nvidia); changes made here are overwritten.\n"
        f"export CUDA_HOME={cuda_home}\n"
        'export PATH="$CUDA_HOME/bin:$PATH"\n'
        'export LD_LIBRARY_PATH="$CUDA_HOME/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n'
    )


def decide(seen: Observation, settings: Settings, topology: Topology | None) -> RolePlan:
    """Reasons to install or to restart, and what is wrong with the GPUs. Pure."""
    if not settings["nvidia_gpu_expected"]:
        return RolePlan(summary="nothing to do: no GPU, by nvidia_gpu_expected")
    driver = judge_driver(seen, settings)
    if any(found.severity == "error" for found in driver.findings):
        return RolePlan(reasons=driver.reasons or ("the driver does not work",), findings=driver.findings)
    parts = [driver, judge_fabric(seen), judge_nvlink5(seen), judge_holds(seen, settings), judge_key(seen, settings)]
    toolkit = judge_toolkit(seen, settings)
    reasons = [reason for part in parts for reason in part.reasons] + toolkit
    findings = [found for part in parts for found in part.findings] + judge_devices(seen, settings)
    findings += [*judge_count(seen, settings), *judge_persistence(seen)]
    findings += [found for gpu in seen.gpus for found in judge_gpu(gpu, settings)]
    profile = profile_text(str(settings["nvidia_cuda_home"])) if seen.toolkit or toolkit else ""
    if profile and seen.profile != profile:
        reasons.append(f"{PROFILE} {'differs' if seen.profile else 'is missing'}")
    packages, wrong = needed(seen, settings, parts, bool(toolkit))
    values: dict[str, Any] = {
        "packages": packages,
        "restart": driver.restart,
        "profile": profile,
        "driver_version": seen.gpus[0].driver_version if seen.works and not driver.install else "",
        "driver": driver.install,
        "services": sorted({name for part in parts for name in part.services}),
        "hold": [name for part in parts for name in part.hold],
        "key": any(part.key for part in parts),
        "remove": [path for part in parts for path in part.remove],
    }
    cuda = str(settings["nvidia_cuda_version"])
    summary = f"nothing to do: {seen.detail} serves CUDA {cuda}" if not reasons else ""
    return RolePlan(reasons=tuple(reasons), findings=tuple(findings + wrong), values=values, summary=summary)


def judge_toolkit(seen: Observation, settings: Settings) -> list[str]:
    if not settings["nvidia_toolkit"] or seen.toolkit:
        return []
    others = f" (there is {', '.join(seen.toolkits)})" if seen.toolkits else ""
    return [f"no CUDA toolkit at {settings['nvidia_cuda_home']}{others}"]


def judge_driver(seen: Observation, settings: Settings) -> Driver:
    cuda, branch = str(settings["nvidia_cuda_version"]), str(settings["nvidia_driver_branch"])
    if seen.works:
        have = seen.gpus[0].driver_version
        if gpu_generations.driver_suffices(have, cuda):
            return Driver()
        return Driver(
            (f"driver {have} is too old for CUDA {cuda}: branch {branch} instead",), install=True, restart=True
        )
    if not seen.devices:
        expected = "at least one NVIDIA GPU"
        found = f"no NVIDIA device on the PCI bus ({seen.detail})"
        return Driver(findings=(finding("NO_GPU", variable="nvidia_gpu_expected", found=found, expected=expected),))
    if seen.state == "works" or (seen.state == "broken" and seen.trouble in BY_HAND):
        return Driver(
            findings=(finding("NVIDIA_DRIVER_BROKEN", found=seen.detail, expected="nvidia-smi lists the GPUs"),)
        )
    if seen.trouble == "mismatch" or (seen.trouble == "not_loaded" and seen.module_installed):
        return restart(seen, settings)
    if seen.module_installed:  # what is missing is no module, and does not come by a restart
        reason = f"the driver's module is installed, the rest is missing ({seen.detail}): branch {branch} is installed"
    elif any(name.startswith(("nvidia-kernel", "nvidia-dkms")) for name in seen.packages):
        reason = f"the driver has no module for the running kernel {seen.kernel}: the module is built"
    else:
        reason = f"{counted(seen.devices)} without a driver: branch {branch} is installed"
    return Driver((reason,), True, bool(seen.nouveau), secure_boot(seen))


def needed(
    seen: Observation, settings: Settings, parts: list[Driver], toolkit: bool
) -> tuple[list[str], list[Finding]]:
    """Packages by distribution and GPU, and findings against them."""
    driver, fabric = parts[0].install, any(part.fabric for part in parts)
    if not (driver or fabric or toolkit):
        return [], []
    system = table.system(seen.release)
    if system is None or seen.machine != "x86_64":
        at = f"{seen.release.get('ID')} {seen.release.get('VERSION_ID', '')} on {seen.machine}"
        return [], [finding("NVIDIA_SYSTEM_UNKNOWN", found=at, expected="a distribution of the table")]
    branch, packages = str(settings["nvidia_driver_branch"]), []
    if driver:
        wrong = out_of_branch(seen.devices, settings)
        if wrong:
            return [], wrong
        try:
            module = table.kernel_module(seen.devices)
        except ValueError as error:
            return [], [finding("NVIDIA_SYSTEM_UNKNOWN", found=str(error), expected="GPUs that one driver serves")]
        packages += table.driver_packages(system, branch, module, seen.kernel, seen.nvswitches > 0)
    elif fabric:
        version = seen.gpus[0].driver_version
        packages.append(table.fabric_package(system, version.split(".")[0], version))
    if toolkit:
        packages.append(table.toolkit_package(str(settings["nvidia_cuda_version"])))
    return packages, []


def out_of_branch(devices: Sequence[int], settings: Settings) -> list[Finding]:
    """GPUs that the wanted driver branch does not know yet, or no longer."""
    branch = (numbers(str(settings["nvidia_driver_branch"])) or (0,))[0]
    known = [item for item in map(gpu_generations.generation, devices) if item]
    expected = [f"{item.first_branch} or newer, for {item.name}" for item in known if item.first_branch > branch]
    expected += [f"{item.last_branch} or older, for {item.name}" for item in known if 0 < item.last_branch < branch]
    if not expected:
        return []
    found = f"nvidia_driver_branch: {settings['nvidia_driver_branch']}"
    return [finding("VARIABLE_INVALID", variable="nvidia_driver_branch", found=found, expected=expected[0])]
