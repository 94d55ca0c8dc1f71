"""What stands in the way of a driver, each with its near miss."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import smi as nvidia_smi

from tests.unit.support.nvidia import (
    B200,
    H100,
    HELD,
    KNOWN_KEY,
    LOOSE,
    READY,
    REAL,
    V100,
    decide,
)


@pytest.fixture(autouse=True)
def _no_tool_here(monkeypatch):
    monkeypatch.setattr(nvidia_smi, "PLACES", ("/nonexistent",))


OURS = {"nvidia_busy_ignore_below": "/srv/blockmoving"}
ONE = {"index": 0, "name": "NVIDIA H100", "memory_bytes": 82 * 10**9, "driver_version": "580.159.04"}
SEVEN = {"devices": [H100] * 8, "gpus": [ONE] * 7, **READY}
PERSISTENCE, RESET = "NVIDIA_PERSISTENCE_OFF", "GPU_RESET_PENDING"
FINDINGS = {
    "no GPU at all": ("", {}, {}, ["NO_GPU"]),
    "a tool and no GPU": ("described/driver-not-loaded.txt", {}, {}, ["NO_GPU"]),
    "libraries newer than the module": (
        "described/library-mismatch.txt",
        {"devices": [H100]},
        {},
        ["NVIDIA_REBOOT_NEEDED"],
    ),
    "a module that is built and not loaded": (
        "described/driver-not-loaded.txt",
        {"devices": [H100], "module_installed": True},
        {},
        ["NVIDIA_REBOOT_NEEDED"],
    ),
    "… under Secure Boot": (
        "described/driver-not-loaded.txt",
        {"devices": [H100], "module_installed": True, "secure_boot": True},
        {},
        ["NVIDIA_REBOOT_NEEDED", "SECURE_BOOT_ON"],
    ),
    "… with leave to restart": (
        "described/library-mismatch.txt",
        {"devices": [H100]},
        {"nvidia_reboot": "when_needed"},
        [],
    ),
    "… after a restart that did not help": (
        "described/library-mismatch.txt",
        {"devices": [H100], "record": {"restart": {"boot": "another", "fault": "mismatch 6.1.0-x"}}},
        {"nvidia_reboot": "when_needed"},
        ["NVIDIA_DRIVER_BROKEN"],
    ),
    "… which Secure Boot keeps out": (
        "described/driver-not-loaded.txt",
        {
            "devices": [H100],
            "module_installed": True,
            "secure_boot": True,
            "record": {"restart": {"boot": "another", "fault": "not_loaded 6.1.0-x"}},
        },
        {"nvidia_reboot": "when_needed"},
        ["NVIDIA_DRIVER_BROKEN", "SECURE_BOOT_ON"],
    ),
    "… that was asked for in this very boot": (
        "described/library-mismatch.txt",
        {"devices": [H100], "record": {"restart": {"boot": "this one", "fault": "mismatch 6.1.0-x"}}},
        {"nvidia_reboot": "when_needed"},
        [],
    ),
    "… for another fault": (
        "described/library-mismatch.txt",
        {"devices": [H100], "record": {"restart": {"boot": "another", "fault": "not_loaded 6.1.0-x"}}},
        {"nvidia_reboot": "when_needed"},
        [],
    ),
    "no library although a module is there": (
        "described/no-library.txt",
        {"devices": [H100], "module_installed": True, **READY},
        {},
        [],
    ),
    "NVSwitches of NVLink 5": (
        "",
        {"devices": [B200] * 8, "nvlink5": 4},
        {},
        ["NVSWITCH_NVLINK5"],
    ),
    "… whose fabric somebody has set up": (
        REAL,
        {"devices": [B200], "nvlink5": 4, "fabric": ["Completed"] * 8, **READY},
        {},
        [],
    ),
    "… whose fabric is not up": (
        "described/8xh100-no-fabric-manager.xml",
        {"devices": [B200] * 8, "nvlink5": 4, **READY},
        {},
        ["NVSWITCH_FABRIC_DOWN", "NVSWITCH_NVLINK5"],
    ),
    "a GPU that was lost": ("described/gpu-lost.txt", {"devices": [H100]}, {}, ["NVIDIA_DRIVER_BROKEN"]),
    "a user without permission": ("described/no-permission.txt", {"devices": [H100]}, {}, ["NVIDIA_DRIVER_BROKEN"]),
    "no library is no driver": ("described/no-library.txt", {"devices": [H100], **READY}, {}, []),
    "a distribution that is not in the table": (
        "",
        {"devices": [H100], "release": {"ID": "arch"}},
        {},
        ["NVIDIA_SYSTEM_UNKNOWN"],
    ),
    "… where nothing has to be installed": (REAL, {"release": {"ID": "arch"}, **READY}, {}, []),
    "another machine": ("", {"devices": [H100], "machine": "aarch64"}, {}, ["NVIDIA_SYSTEM_UNKNOWN"]),
    "GPUs that no one driver serves": (
        "",
        {"devices": [V100, B200]},
        {},
        ["GPU_TOO_OLD", "NVIDIA_SYSTEM_UNKNOWN"],
    ),
    "a branch that dropped the GPU": (
        "",
        {"devices": [V100]},
        {"nvidia_driver_branch": "590"},
        ["GPU_TOO_OLD", "VARIABLE_INVALID"],
    ),
    "seven of eight answer": (REAL, SEVEN, {}, ["GPU_MISSING"]),
    "… as the user knows": (REAL, SEVEN, {"run_config_processes": 7}, ["GPU_MISSING"]),
    "eight of eight": ("described/8xh100-nvswitch.xml", {"devices": [H100] * 8, **READY}, {}, []),
    "a card for the screen that the driver does not know": (REAL, {"devices": [H100, 0x128B], **READY}, {}, []),
    "a bus that is not seen": (REAL, {"devices": [], **READY}, {}, []),
    "by the driver's own count": (REAL, {"devices": [H100], "attached": 2, **READY}, {}, ["GPU_MISSING"]),
    "a device handle that fails before a good report": (
        REAL,
        {"devices": [H100], "said": "Unable to determine the device handle for GPU0000:3B:00.0: GPU is lost", **READY},
        {"run_config_processes": 1},
        ["GPU_MISSING"],
    ),
    "a warning behind a good report": (
        REAL,
        {"devices": [H100], "said": "WARNING: infoROM is corrupted at gpu 0000:3B:00.0", **READY},
        {},
        ["NVIDIA_SMI_WARNS"],
    ),
    "no persistence": (REAL, {"devices": [H100], "gpus": [{**ONE, "persistence": False}], **READY}, {}, [PERSISTENCE]),
    "… whose daemon the role starts": (
        REAL,
        {
            "devices": [H100],
            "gpus": [{**ONE, "persistence": False}],
            "services": {"nvidia-persistenced": "inactive"},
            **READY,
        },
        {},
        [],
    ),
    "a reset that waits": (REAL, {"devices": [H100], "gpus": [{**ONE, "pending": ["x"]}], **READY}, {}, [RESET]),
    "no spare rows": (REAL, {"devices": [H100], "gpus": [{**ONE, "worn": True}], **READY}, {}, ["GPU_ECC_ERRORS"]),
    "a GPU without its memory": (REAL, {"gpus": [{**ONE, "memory_bytes": 0}], **READY}, {}, ["GPU_MISSING"]),
    "a CUDA older than the GPU": ("", {"devices": [B200]}, {"nvidia_cuda_version": "12.6"}, ["VARIABLE_INVALID"]),
    "a GPU too old for the trainer, with a driver that works": (
        REAL,
        {"devices": [V100], **READY},
        {},
        ["GPU_TOO_OLD"],
    ),
    "a branch older than the GPU": ("", {"devices": [B200]}, {"nvidia_driver_branch": "550"}, ["VARIABLE_INVALID"]),
    "a branch as old as the GPU": ("", {"devices": [B200]}, {"nvidia_driver_branch": "570"}, []),
    "Secure Boot before the installation": ("", {"devices": [H100], "secure_boot": True}, {}, ["SECURE_BOOT_ON"]),
    "Secure Boot with a driver that works": (REAL, {"secure_boot": True, **READY}, {}, []),
    "MIG and memory errors": ("described/4xa100-80gb-mig-ecc.xml", READY, {}, ["GPU_MIG_ON", "GPU_ECC_ERRORS"]),
    "neither": ("described/4xa100-80gb.xml", READY, {}, []),
    "a fabric that is the provider's, and not up": (
        "described/8xh100-no-fabric-manager.xml",
        READY,
        {},
        ["NVSWITCH_FABRIC_DOWN"],
    ),
    "a fabric that is not up although its manager runs": (
        "described/8xh100-no-fabric-manager.xml",
        {**READY, "nvswitches": 4, "services": {"nvidia-fabricmanager": "active"}},
        {},
        ["NVSWITCH_FABRIC_DOWN"],
    ),
    "a driver that an unattended update may change": (
        REAL,
        {**READY, "packages": LOOSE, "upgrader": True},
        {},
        ["NVIDIA_DRIVER_NOT_HELD"],
    ),
    "… where nothing updates it": (REAL, {**READY, "packages": LOOSE}, {}, []),
    "… and is held": (REAL, {**READY, "packages": HELD, "upgrader": True}, {}, []),
    "a source of the user's for the same repository": (
        "",
        {"devices": [H100], "foreign_source": "/etc/apt/sources.list.d/cuda.list"},
        {},
        ["NVIDIA_SOURCE_FOREIGN"],
    ),
    "a key that was rotated": (REAL, {**READY, "keyring": ["A" * 40]}, {}, ["NVIDIA_KEY_CHANGED"]),
    "the key of the table": (REAL, {**READY, "keyring": [KNOWN_KEY]}, {}, []),
    "the key that the user named": (
        REAL,
        {**READY, "keyring": ["A" * 40]},
        {"nvidia_repository_fingerprint": "aaaa " * 10},
        [],
    ),
    "a GPU that somebody uses": ("described/2xrtx4090-busy.xml", READY, {}, ["GPU_BUSY"]),
    "a GPU that our own training uses": ("described/2xrtx4090-busy.xml", READY, OURS, []),
    "a GPU that a program beside our folder uses": (
        "described/2xrtx4090-busy.xml",
        READY,
        {"nvidia_busy_ignore_below": "/srv/block"},
        ["GPU_BUSY"],
    ),
}


@pytest.mark.parametrize(("smi", "changes", "settings", "codes"), FINDINGS.values(), ids=FINDINGS)
def test_findings(smi, changes, settings, codes):
    plan = decide(smi, changes, **settings)
    assert [found.code for found in plan.findings] == codes
    assert all(found.found and found.expected for found in plan.findings)
    if "NVIDIA_DRIVER_BROKEN" in codes:
        assert plan.reasons, "a host whose driver is broken is not in sync"


@pytest.mark.parametrize(("processes", "severity"), [(0, "error"), (7, "warning"), (8, "error")])
def test_a_run_of_fewer_gpus_needs_the_users_word(processes, severity):
    assert [one.severity for one in decide(REAL, SEVEN, run_config_processes=processes).findings] == [severity]
