"""Which torch is asked for, and whether it exists and can run: what raises a finding, and a near miss that does not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine import torch_build
from ansible_collections.canvas.fleet.plugins.module_utils.machine.environment import Environment
from ansible_collections.canvas.fleet.plugins.module_utils.machine.host import Host

from tests.unit.support.places import ROOT

INDEX = "https://download.pytorch.org/whl/"
HOPPER, BLACKWELL = 0x2330, 0x2901
SETTINGS: dict[str, Any] = {
    "nvidia_gpu_expected": True,
    "nvidia_cuda_version": "12.6",
    "nvidia_driver_branch": "580",
    "conda_env_use_existing": False,
    "conda_env_pip_lock": [],
    "conda_env_pip_packages": ["torchvision==0.22.1", "torch==2.7.1", "numpy==1.24.4"],
    "conda_env_pip_index_url": "",
    "conda_env_pip_extra_index_urls": [],
    "fleet_pip_find_links": "",
    "conda_env_wheelhouse": "",
    "conda_env_flash_attn_from": "wheel",
}
PINS_128 = {"conda_env_pip_packages": ["torch==2.7.1+cu128"]}
LOCK_126 = (ROOT / "roles/conda_env/files/locks/cu126/pip.txt").read_text().splitlines()
PINS_130 = {"conda_env_pip_packages": ["torch==2.9.0+cu130"], "conda_env_flash_attn_from": "source"}


def index(tag: str) -> dict[str, Any]:
    return {"conda_env_pip_index_url": INDEX + tag}


def extra(tag: str) -> dict[str, Any]:
    return {"conda_env_pip_extra_index_urls": ["https://mirror.example/simple", f"{INDEX}{tag}/"]}


def seen(driver: str = "580.95.05", device: int = HOPPER, torch: str = "", state: str = "works") -> Host:
    works = driver if state == "works" else ""
    return Host("a", Environment(), ("H100",) * 8, works, (device,) * 8, torch)


def codes(observed: Host, **settings: Any) -> list[str]:
    return [one.code for one in torch_build.check(observed, {**SETTINGS, **settings})]


CASES = {
    "the guide's index": ("TORCH_BUILD_MISSING", (seen(), index("cu121")), (seen(), index("cu126"))),
    "a further index": ("TORCH_BUILD_MISSING", (seen(), extra("cu121")), (seen(), extra("cu128"))),
    "a pin": (
        "TORCH_BUILD_MISSING",
        (seen(), {"conda_env_pip_packages": ["torch==2.7.1+cu121"]}),
        (seen(), {"conda_env_pip_packages": ["torch==2.5.1+cu121"]}),
    ),
    "the guide's index beside the lock": (
        "TORCH_BUILD_MISSING",
        (seen(), {**index("cu121"), "conda_env_pip_lock": LOCK_126}),
        (seen(), {"conda_env_pip_lock": LOCK_126}),
    ),
    "Blackwell with the usual torch": ("TORCH_BUILD_UNFIT", (seen(device=BLACKWELL), {}), (seen(), {})),
    "Blackwell with the lock": (
        "TORCH_BUILD_UNFIT",
        (seen(device=BLACKWELL), {"conda_env_pip_lock": LOCK_126, **extra("cu128")}),
        (seen(device=BLACKWELL), PINS_128),
    ),
    "an old driver that stays": (
        "TORCH_BUILD_UNFIT",
        (seen("570.133.20"), {"conda_env_pip_packages": ["torch==2.9.0+cu130"]}),
        (seen("570.133.20"), {"conda_env_pip_packages": ["torch==2.9.0+cu130"], "nvidia_cuda_version": "13.0"}),
    ),
    "a branch that is too old": (
        "TORCH_BUILD_UNFIT",
        (seen(state="absent"), {**index("cu130"), **PINS_130, "nvidia_driver_branch": "570"}),
        (seen(state="absent"), {**index("cu130"), "conda_env_pip_packages": ["torch==2.9.0+cu130"]}),
    ),
    "a toolkit of another major version": (
        "TORCH_BUILD_UNFIT",
        (seen(), PINS_130),
        (seen(), {**PINS_130, "nvidia_cuda_version": "13.0"}),
    ),
    "an environment of the user's": (
        "TORCH_BUILD_UNFIT",
        (seen(device=BLACKWELL, torch="12.6"), {"conda_env_use_existing": True, **PINS_128}),
        (seen(device=BLACKWELL, torch="12.8"), {"conda_env_use_existing": True, **index("cu121")}),
    ),
    "no GPU on purpose": (
        "TORCH_BUILD_UNFIT",
        (seen(device=BLACKWELL), {}),
        (seen(device=BLACKWELL), {"nvidia_gpu_expected": False}),
    ),
}


@pytest.mark.parametrize(("code", "case", "miss"), CASES.values(), ids=CASES)
def test_a_finding_is_raised_and_its_near_miss_is_not(code: str, case: Any, miss: Any) -> None:
    observed, told = case
    assert code in codes(observed, **told)
    observed, told = miss
    assert codes(observed, **told) == []


PLANNED: dict[str, tuple[dict[str, Any], str]] = {
    "the usual index": ({}, "12.6"),
    "a local part wins": ({**PINS_128, **index("cu126")}, "12.8"),
    "the lock wins over an index": ({"conda_env_pip_lock": LOCK_126, **extra("cu128")}, "12.6"),
    "a further index has the newer build": (extra("cu128"), "12.8"),
    "an index without such a build is not taken": (extra("cu121"), "12.6"),
    "wheels of the user's say nothing": ({"fleet_pip_find_links": "/srv/wheels"}, ""),
    "a wheelhouse says nothing": ({"conda_env_wheelhouse": "/srv/wheels"}, ""),
    "no torch": ({"conda_env_pip_packages": ["torchvision==0.22.1"]}, ""),
    "a torch of a later table": ({"conda_env_pip_packages": ["torch==2.99"]}, ""),
}


@pytest.mark.parametrize(("told", "build"), PLANNED.values(), ids=PLANNED)
def test_which_build_will_be_installed(told: dict[str, Any], build: str) -> None:
    assert torch_build.planned({**SETTINGS, **told}) == build


def test_a_missing_build_names_those_that_exist() -> None:
    (found,) = torch_build.missing({**SETTINGS, **index("cu121")})
    assert found.variable == "conda_env_pip_index_url"
    assert found.found == f"torch 2.7.1 for CUDA 12.1 (conda_env_pip_index_url: {INDEX}cu121)"
    assert found.expected == "torch 2.7.1 for CUDA 12.6 or 11.8 or 12.8"


B200 = seen(device=BLACKWELL)
LOCK_OF_128 = [line.replace("torch==2.7.1 ", "torch==2.7.1+cu128 ") for line in LOCK_126 if "cuda-runtime" not in line]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"conda_env_pip_lock": LOCK_126}, ["TORCH_BUILD_UNFIT"]),
        ({"conda_env_pip_lock": LOCK_126, "nvidia_cuda_version": "12.8"}, ["TORCH_BUILD_UNFIT"]),
        ({"conda_env_pip_lock": LOCK_126, **PINS_128, "nvidia_cuda_version": "12.8"}, ["TORCH_BUILD_UNFIT"]),
        ({"conda_env_pip_lock": LOCK_OF_128, **PINS_128, "nvidia_cuda_version": "12.8"}, []),
    ],
    ids=["as it is", "a newer toolkit alone", "another pin, the same lock", "all that the remedy says"],
)
def test_eight_b200_are_told_until_the_whole_remedy_is_followed(settings: dict[str, Any], wanted: list[str]) -> None:
    """What is installed comes from the lock: a pin or a toolkit beside it changes nothing."""
    assert codes(B200, **settings) == wanted
    remedies = [one.remedy for one in torch_build.check(B200, {**SETTINGS, **settings})]
    assert all("torch==2.7.1+cu128" in remedy and "lock" in remedy for remedy in remedies)
