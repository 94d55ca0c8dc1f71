"""What cannot all be true, or does not go together: each with a near miss that is no finding."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.machine import disagreements, facts
from ansible_collections.canvas.fleet.plugins.module_utils.machine.environment import Environment
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import Facts
from ansible_collections.canvas.fleet.plugins.module_utils.machine.gpu import Gpu
from ansible_collections.canvas.fleet.plugins.module_utils.machine.host import Host

from tests.unit.machine.test_torch_build import LOCK_126
from tests.unit.machine.test_torch_build import SETTINGS as TORCH

GB = 10**9
INSTALLER = "https://mirror.example/Miniforge3-26.3.2-3-Linux-x86_64.sh"
SETTINGS: dict[str, Any] = {
    **TORCH,
    "run_config_env": {},
    "nvidia_cuda_home": "/usr/local/cuda-12.6",
    "conda_env_prefix": "/srv/env",
    "conda_env_installer_url": INSTALLER,
    "conda_env_conda_lock": [],
    "conda_env_flash_attn": "2.8.2",
}


def gpu(**changes: Any) -> Gpu:
    return Gpu(**{"index": 3, "name": "H100", "memory_bytes": 82 * GB, **changes})


def host(*gpus: Gpu, phase: str = "absent", proved: tuple[str, ...] = (), **of_facts: str) -> Host:
    seen = Facts("3.11", 1, **{"architecture": "x86_64", "libc": "2.36", **of_facts})
    return Host("a", Environment(), gpus=gpus or (gpu(),) * 8, facts=seen, phase=phase, proved=proved)


def found(seen: Host, nproc: int = 8, **settings: Any) -> list[tuple[str, str]]:
    topology = Topology("r", ("a",), 0, nproc, 4, "localhost", 1)
    return [(one.code, one.variable) for one in disagreements.check(seen, {**SETTINGS, **settings}, topology)]


def shown(text: Any) -> dict[str, Any]:
    return {"run_config_env": {"CUDA_VISIBLE_DEVICES": text}}


OLD_FLASH = {"conda_env_flash_attn": "2.7.4.post1"}
ARM = "aarch64"
OTHER = [("ARCHITECTURE_OTHER", "conda_env_installer_url")]
CASES: dict[str, tuple[Host, dict[str, Any], list[tuple[str, str]]]] = {
    "nothing": (host(), {}, []),
    "80 of 82 GB by nobody": (host(gpu(memory_used_bytes=80 * GB)), {"nproc": 1}, [("GPU_MEMORY_TAKEN", "")]),
    "… by a process that is listed": (host(gpu(memory_used_bytes=80 * GB, memory_held_bytes=79 * GB)), {}, []),
    "… by one that does not tell how much": (host(gpu(memory_used_bytes=80 * GB, memory_held_bytes=None)), {}, []),
    "… by the training that runs": (host(gpu(memory_used_bytes=80 * GB), phase="running"), {}, []),
    "what a driver takes for itself": (host(gpu(memory_used_bytes=GB)), {}, []),
    "a GPU that is cut": (host(gpu(memory_used_bytes=80 * GB, mig=True)), {}, []),
    "without GPUs by the user's word": (
        host(gpu(memory_used_bytes=80 * GB)),
        {"nvidia_gpu_expected": False, **shown("")},
        [],
    ),
    "two GPUs shown for eight processes": (host(), shown("0,1"), [("GPU_HIDDEN", "run_config_env")]),
    "two shown for two": (host(), {**shown("0,1"), "nproc": 2}, []),
    "a number": (host(), shown(0), [("GPU_HIDDEN", "run_config_env")]),
    "none": (host(), {**shown(""), "nproc": 1}, [("GPU_HIDDEN", "run_config_env")]),
    "CUDA stops at the first that is none": (
        host(),
        {**shown("0,9,1"), "nproc": 2},
        [("GPU_HIDDEN", "run_config_env")],
    ),
    "one twice shows none": (host(), {**shown("0,0"), "nproc": 1}, [("GPU_HIDDEN", "run_config_env")]),
    "by their names": (host(), {**shown("GPU-1, GPU-2"), "nproc": 2}, []),
    "the guide's toolkit": (
        host(),
        {"nvidia_cuda_home": "/usr/local/cuda-12.1"},
        [("TOOLKIT_OLDER", "nvidia_cuda_version")],
    ),
    "the guide's toolkit by hand": (
        host(),
        {"run_config_env": {"LD_LIBRARY_PATH": "/usr/local/cuda-12.1/lib64"}},
        [("TOOLKIT_OLDER", "run_config_env")],
    ),
    "a toolkit of another major": (host(), {"nvidia_cuda_home": "/usr/local/cuda-11.8"}, []),
    "a newer toolkit": (host(), {"nvidia_cuda_home": "/usr/local/cuda-12.8"}, []),
    "libraries of no toolkit": (host(), {"run_config_env": {"LD_LIBRARY_PATH": "/opt/lib"}}, []),
    "a PATH without torchrun": (
        host(),
        {"run_config_env": {"PATH": "/usr/bin:/srv/env/bin"}},
        [("VARIABLE_INVALID", "run_config_env")],
    ),
    "a PATH with it first": (host(), {"run_config_env": {"PATH": "/srv/env/bin:/usr/bin"}}, []),
    "aarch64 with a driver that works": (host(architecture=ARM), {}, OTHER),
    "aarch64 with all of its own": (
        host(architecture=ARM),
        {
            "conda_env_installer_url": "https://m/Miniforge3-Linux-aarch64.sh",
            "conda_env_flash_attn_from": "source",
            "conda_env_pip_lock": ["# Made by `make lock` for Python 3.10, Linux, aarch64"],
        },
        [],
    ),
    "aarch64 with a lock of x86_64": (
        host(architecture=ARM),
        {
            "conda_env_installer_url": "https://m/installer.sh",
            "conda_env_flash_attn_from": "source",
            "conda_env_conda_lock": ["@EXPLICIT", "https://conda/linux-64/python-3.10.18-0.conda#sha256:1"],
        },
        [("ARCHITECTURE_OTHER", "conda_env_lock")],
    ),
    "aarch64 with flash-attn's wheel alone": (
        host(architecture=ARM),
        {"conda_env_installer_url": "https://m/installer.sh"},
        [("ARCHITECTURE_OTHER", "conda_env_flash_attn_from")],
    ),
    "aarch64 with an environment that is there": (host(architecture=ARM), {"conda_env_use_existing": True}, []),
    "an installer for aarch64 on x86_64": (
        host(),
        {"conda_env_installer_url": "https://m/Miniforge3-Linux-aarch64.sh"},
        OTHER,
    ),
    "Debian 11": (host(libc="2.31"), {}, [("LIBC_OLD", "conda_env_flash_attn_from")]),
    "EL 8's older brother": (
        host(libc="2.17"),
        {},
        [("LIBC_OLD", "conda_env_pip_packages"), ("LIBC_OLD", "conda_env_flash_attn_from")],
    ),
    "… by the lock": (
        host(libc="2.17", proved=("flash_attn",)),
        {"conda_env_pip_lock": LOCK_126, "conda_env_pip_packages": []},
        [("LIBC_OLD", "conda_env_pip_packages")],
    ),
    "Debian 11 that builds it": (host(libc="2.31"), {"conda_env_flash_attn_from": "source"}, []),
    "Debian 11 with an older wheel": (host(libc="2.31"), OLD_FLASH, []),
    "Debian 11 where it was imported": (host(libc="2.31", proved=("flash_attn",)), {}, []),
    "just new enough": (host(libc="2.32"), {}, []),
    "another C library": (host(libc=""), {}, []),
}


@pytest.mark.parametrize(("seen", "settings", "wanted"), CASES.values(), ids=CASES)
def test_two_observations_that_disagree(seen: Host, settings: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    assert found(seen, **settings) == wanted


def test_the_collections_own_lock_says_what_it_is_made_for() -> None:
    assert disagreements.made_for(LOCK_126[0]) == "x86_64"


def test_the_c_library_of_this_machine_is_known() -> None:
    version = facts.libc()
    assert version == "" or version.startswith("2.")
