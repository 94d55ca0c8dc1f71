"""docs/gpu-hosts.md's tables: distribution × GPU × starting state, from the decisions of the role itself.

    python -m tools.gpu_matrix [--check]

Machines are what nvidia-smi says of them (tests/fixtures/nvidia-smi: one real, the others described). The last column
takes what the role would have done as done, and decides again.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import RolePlan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import decide as nvidia_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import distributions
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import files as nvidia_files
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import packages as nvidia_packages
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import smi as nvidia_smi
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia.observe import Observation

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures" / "nvidia-smi"
PAGE = ROOT / "docs" / "gpu-hosts.md"
BEGIN, END = "<!-- made by python -m tools.gpu_matrix -->", "<!-- end -->"
NEW = "580.159.04"
SETTINGS = {
    "nvidia_gpu_expected": True,
    "nvidia_driver_branch": "580",
    "nvidia_cuda_version": "12.6",
    "nvidia_cuda_home": "/usr/local/cuda-12.6",
    "nvidia_toolkit": True,
    "nvidia_hold": True,
    "nvidia_reboot": "never",
    "nvidia_busy_ignore_below": "",
    "nvidia_repository_url": "https://mirror.test",
    "nvidia_repository_fingerprint": "",
    "fleet_state_dir": "/nowhere",
}
SYSTEMS = {
    "Debian 12": ("debian", "12", "6.1.0-40-amd64"),
    "Debian 13": ("debian", "13", "6.12.48+deb13-amd64"),
    "Ubuntu 22.04": ("ubuntu", "22.04", "5.15.0-152-generic"),
    "Ubuntu 24.04": ("ubuntu", "24.04", "6.8.0-79-generic"),
    "EL 9": ("rocky", "9.6", "5.14.0-570.el9.x86_64"),
}
# name: PCI number, how many, NVSwitches, what nvidia-smi says of it
MACHINES = {
    "1 × H100": (0x2330, 1, 0, "580.159.04/nvidia-smi-q.xml"),
    "8 × H100, NVSwitch": (0x2330, 8, 4, "described/8xh100-nvswitch.xml"),
    "4 × A100": (0x20B2, 4, 0, "described/4xa100-80gb.xml"),
    "2 × RTX 4090": (0x2684, 2, 0, "described/2xrtx4090-busy.xml"),
    "1 × V100": (0x1DB5, 1, 0, "described/1xv100-old.xml"),
    "1 × B200": (0x2901, 1, 0, ""),
    "8 × B200, NVLink 5": (0x2901, 8, 0, ""),
}
READY = {"toolkit": True, "toolkits": ["cuda-12.6"], "profile": nvidia_plan.profile_text("/usr/local/cuda-12.6")}
OURS = {"record": {"packages": ["nvidia-open"]}}
UNIT = "nvidia-fabricmanager"
OWN = nvidia_packages.OWN_SOURCES["debian"]


def package(version: str, *, held: bool) -> dict[str, Any]:
    return {"version": f"{version}-1", "held": held}


# starting state: machine, the output of nvidia-smi if not the machine's own, what else is seen, other settings
STATES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "nothing installed": ("1 × H100", "", {}, {}),
    "nothing installed, nouveau runs": ("4 × A100", "", {"nouveau": True}, {}),
    "nothing installed, Secure Boot": ("1 × H100", "", {"secure_boot": True}, {}),
    "nothing installed, NVSwitch": ("8 × H100, NVSwitch", "", {}, {}),
    "nothing installed, the user's own source": (
        "4 × A100",
        "",
        {"foreign_source": "/etc/apt/sources.list.d/cuda.list"},
        {},
    ),
    "driver and toolkit work": ("1 × H100", "own", READY, {}),
    "driver works, no toolkit": ("4 × A100", "own", {}, {}),
    "driver works, unattended-upgrades, not held": (
        "1 × H100",
        "own",
        {**READY, "packages": {"nvidia-open": package(NEW, held=False)}, "upgrader": True},
        {},
    ),
    "our driver, a hold was taken off": (
        "1 × H100",
        "own",
        {**READY, **OURS, "packages": {"nvidia-open": package(NEW, held=False)}},
        {},
    ),
    "driver of CUDA 11": ("1 × V100", "own", READY, {}),
    "after an update: library mismatch": ("1 × H100", "described/library-mismatch.txt", READY, {}),
    "… with nvidia_reboot: when_needed": (
        "1 × H100",
        "described/library-mismatch.txt",
        READY,
        {"nvidia_reboot": "when_needed"},
    ),
    "a new kernel without headers": (
        "1 × H100",
        "described/driver-not-loaded.txt",
        {**READY, "packages": {"nvidia-kernel-open-dkms": package(NEW, held=True)}},
        {},
    ),
    "module built, not loaded, Secure Boot": (
        "1 × H100",
        "described/driver-not-loaded.txt",
        {**READY, "module_installed": True, "secure_boot": True},
        {},
    ),
    "… after a restart that did not help": (
        "1 × H100",
        "described/driver-not-loaded.txt",
        {
            **READY,
            "module_installed": True,
            "secure_boot": True,
            "record": {"restart": {"boot": "the one before", "fault": "not_loaded 6.1.0-40-amd64"}},
        },
        {"nvidia_reboot": "when_needed"},
    ),
    "module built, no nvidia-smi": ("1 × H100", "", {**READY, "module_installed": True}, {}),
    "a GPU that fell off the bus": ("4 × A100", "described/gpu-lost.txt", READY, {}),
    "MIG on, memory errors": ("4 × A100", "described/4xa100-80gb-mig-ecc.xml", READY, {}),
    "a GPU that somebody uses": ("2 × RTX 4090", "own", READY, {}),
    "NVSwitch, fabric manager missing": ("8 × H100, NVSwitch", "own", READY, {}),
    "NVSwitch, fabric manager of another version": (
        "8 × H100, NVSwitch",
        "own",
        {**READY, "services": {UNIT: "failed"}, "packages": {f"{UNIT}-570": package("570.86.15", held=True)}},
        {},
    ),
    "NVSwitch is the provider's, fabric not up": ("1 × H100", "described/8xh100-no-fabric-manager.xml", READY, {}),
    "nothing installed, NVSwitches of NVLink 5": (
        "8 × B200, NVLink 5",
        "",
        {**READY, "nvlink5": 4},
        {"nvidia_cuda_version": "12.8"},
    ),
    "a source of the user's came after ours": (
        "1 × H100",
        "own",
        {**READY, **OURS, "foreign_source": "/etc/apt/sources.list.d/cuda.list", "own_source": OWN},
        {},
    ),
    "NVIDIA's key was rotated": ("1 × H100", "own", {**READY, **OURS, "keyring": ["A" * 40]}, {}),
    "V100, which the trainer can't use": ("1 × V100", "", READY, {}),
    "B200 with CUDA 12.6": ("1 × B200", "", READY, {}),
    "B200 with CUDA 12.8": ("1 × B200", "", READY, {"nvidia_cuda_version": "12.8"}),
    "no GPU": ("", "", {}, {}),
    "no GPU, by nvidia_gpu_expected": ("", "", {}, {"nvidia_gpu_expected": False}),
}


def said(name: str, driver: str = "") -> dict[str, Any]:
    """The observation for this output of nvidia-smi; `driver` replaces its version."""
    text = (FIXTURES / name).read_text() if name else ""
    if driver:
        text = re.sub(r"(?<=<driver_version>)[\d.]+", driver, text)
    found = wire.to_dict(nvidia_smi.observe_gpus("nvidia-smi" if name else "", lambda tool: text))
    return found if name else {**found, "state": "absent", "detail": "no nvidia-smi on this host"}


def observed(system: str, machine: str, smi: str, more: dict[str, Any]) -> dict[str, Any]:
    """The observation of nvidia.observe(), as plain data."""
    name, version, kernel = SYSTEMS[system]
    device, number, switches, own = MACHINES.get(machine, (0, 0, 0, ""))
    base = {"kernel": kernel, "machine": "x86_64", "nvswitches": switches, "boot": "this one"}
    release = {"ID": name, "VERSION_ID": version}
    gpus = said(own if smi == "own" else smi)
    plain = {**base, **gpus, "devices": [device] * number, "release": release, **more}
    return dict(wire.to_dict(typed(plain)))


def typed(seen: dict[str, Any]) -> Observation:
    return wire.from_dict(Observation, seen)


def afterwards(seen: dict[str, Any], plan: RolePlan, settings: dict[str, Any], machine: str) -> dict[str, Any]:
    """The observation after the role's work, and after a restart if one is needed."""
    own = MACHINES[machine][3] if machine else ""
    values, after = plan.values, dict(seen)
    if own and (values.get("driver") or values.get("restart")):
        after |= said(own, NEW if values.get("driver") else "")
    if values.get("packages"):
        driver = after["gpus"][0]["driver_version"] if after["gpus"] else NEW
        names = [name for name in values["packages"] if name.startswith(("nvidia", "cuda-drivers"))]
        after["packages"] = {name: package(driver, held=True) for name in names}
        after["services"] = {
            **after["services"],
            **{name: "active" for name in names if name == UNIT or "persist" in name},
        }
        after["services"] |= {UNIT: "active"} if any(name.startswith(UNIT) for name in names) else {}
        after["record"] = {"packages": names}
    after["services"] = {**after["services"], **dict.fromkeys(values.get("services", []), "active")}
    held = {name: {**after["packages"][name], "held": True} for name in values.get("hold", [])}
    after["packages"] = {**after["packages"], **held}
    cuda = str(settings["nvidia_cuda_version"])
    ready = {"toolkit": True, "toolkits": [f"cuda-{cuda}"], "profile": values.get("profile") or after["profile"]}
    key = {"keyring": [distributions.SYSTEMS[("debian", "12")].fingerprint]} if values.get("key") else {}
    removed = {"own_source": ""} if values.get("remove") else {}
    return {**after, **ready, **key, **removed}


def does(plan: RolePlan, seen: dict[str, Any], settings: dict[str, Any]) -> str:
    """The role's work in a few words."""
    if not settings["nvidia_gpu_expected"]:
        return "nothing"
    stops = [found.code for found in plan.findings if found.code in nvidia_files.STOPS]
    if stops:
        return f"stops: {stops[0]}"
    order = nvidia_files.work_order(plan, typed(seen), settings, [])
    parts = [f"removes {path}" for path in order.remove]
    parts += [f"installs {', '.join(order.packages)}"] if order.packages else []
    parts += [f"holds {', '.join(order.hold)}"] if order.hold else []
    parts += [f"starts {', '.join(order.services)}"] if order.services else []
    parts += ["fetches the new key"] if plan.values.get("key") else []
    parts += ["writes the profile"] if plan.values.get("profile") and seen["profile"] != plan.values["profile"] else []
    if plan.values.get("restart"):
        parts.append("restarts" if settings["nvidia_reboot"] == "when_needed" else "reports the restart")
    if any(found.code == "NVIDIA_REBOOT_NEEDED" for found in plan.findings):
        parts.append("reports the restart")
    return "; ".join(parts) or "nothing"


def row(state: str, system: str = "Debian 12") -> list[str]:
    """[machine, state, what the plan says, findings, what the role does, what a second run does]."""
    machine, smi, more, changes = STATES[state]
    settings = {**SETTINGS, **changes}
    if changes.get("nvidia_cuda_version"):
        settings["nvidia_cuda_home"] = f"/usr/local/cuda-{changes['nvidia_cuda_version']}"
    seen = observed(system, machine, smi, more)
    plan = nvidia_plan.decide(typed(seen), settings, None)
    again = nvidia_plan.decide(typed(afterwards(seen, plan, settings, machine)), settings, None)
    second = "nothing" if again.in_sync else "; ".join(again.reasons)
    if not MACHINES.get(machine, (0, 0, 0, "x"))[3]:
        second = "not described" if machine else second
    codes = ", ".join(dict.fromkeys(found.code for found in plan.findings)) or "–"
    return [
        machine or "none",
        state,
        "; ".join(plan.reasons) or plan.summary,
        codes,
        does(plan, seen, settings),
        second,
    ]


def packages(system: str, machine: str) -> str:
    seen = observed(system, machine, "", READY)
    cuda = "12.8" if "B200" in machine else "12.6"
    plan = nvidia_plan.decide(typed(seen), {**SETTINGS, "nvidia_cuda_version": cuda}, None)
    return ", ".join(plan.values["packages"])


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def text() -> str:
    """Both tables."""
    states = table(
        ["GPUs", "starting state", "the plan says", "findings", "the role does", "a second run"],
        [row(s) for s in STATES],
    )
    rows = [[system, machine, packages(system, machine)] for system in SYSTEMS for machine in MACHINES]
    brought = table(["distribution", "GPUs without a driver", "packages (driver, headers, fabric manager)"], rows)
    return f"{BEGIN}\n{states}\n\n{brought}\n{END}"


def main(words: list[str]) -> int:
    page = PAGE.read_text()
    fresh = page[: page.index(BEGIN)] + text() + page[page.index(END) + len(END) :]
    if "--check" in words:
        return int(fresh != page)
    PAGE.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
