"""GPU generations, drivers, CUDA versions and torch's builds, as the table ties them together."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.machine import gpu_generations

DEVICES = {
    "H100 SXM": (0x2330, "Hopper"),
    "H200": (0x2335, "Hopper"),
    "A100 80GB": (0x20B2, "Ampere"),
    "RTX 4090": (0x2684, "Ada Lovelace"),
    "RTX 3090": (0x2204, "Ampere"),
    "T4": (0x1EB8, "Turing"),
    "V100": (0x1DB5, "Volta"),
    "P100": (0x15F8, "Pascal"),
    "B200": (0x2901, "Blackwell"),
    "RTX 5090": (0x2B85, "Blackwell"),
}


@pytest.mark.parametrize(("device", "name"), DEVICES.values(), ids=DEVICES)
def test_the_generation_is_known_before_any_driver(device: int, name: str) -> None:
    found = gpu_generations.generation(device)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("card", "capability"),
    [("P100", (6, 0)), ("V100", (7, 0)), ("T4", (7, 5)), ("A100 80GB", (8, 0)), ("RTX 4090", (8, 9)),
     ("H100 SXM", (9, 0)), ("B200", (10, 0))],
)  # fmt: skip
def test_the_compute_capability_is_nvidias(card: str, capability: tuple[int, int]) -> None:
    found = gpu_generations.generation(DEVICES[card][0])
    assert found is not None
    assert found.capability == capability


def test_no_device_number_belongs_to_two_generations() -> None:
    ranges = sorted(pair for item in gpu_generations.GENERATIONS for pair in item.devices)
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(ranges))


@pytest.mark.parametrize(("card", "fits"), [("A100 80GB", True), ("H100 SXM", True), ("T4", False), ("V100", False)])
def test_which_cards_the_trainer_can_use(card: str, fits: bool) -> None:
    found = gpu_generations.generation(DEVICES[card][0])
    assert found is not None
    assert (found.capability >= gpu_generations.TRAINER_NEEDS) is fits


def test_both_ends_of_a_range_belong_to_its_generation() -> None:
    for item in gpu_generations.GENERATIONS:
        for low, high in item.devices:
            assert (gpu_generations.generation(low), gpu_generations.generation(high)) == (item, item)
    assert gpu_generations.generation(0x1234) is None


SUFFICES = {
    "the real H100's driver": ("580.159.04", "12.8", True),
    "minor-version compatibility": ("535.183.01", "12.8", True),
    "the very first of CUDA 12": ("525.60.13", "12.8", True),
    "one short of it": ("525.60.12", "12.8", False),
    "the branch before": ("520.61.05", "12.0", False),
    "CUDA 13 on a driver of CUDA 12": ("570.133.20", "13.0", False),
    "CUDA 13 on its own": ("580.65.06", "13.0", True),
    "a CUDA that is not in the table": ("999.0", "14.0", False),
    "no driver": ("", "12.8", False),
}


@pytest.mark.parametrize(("driver", "cuda", "fits"), SUFFICES.values(), ids=SUFFICES)
def test_which_driver_serves_which_cuda(driver: str, cuda: str, fits: bool) -> None:
    assert gpu_generations.driver_suffices(driver, cuda) is fits


@pytest.mark.parametrize(
    ("cuda", "device", "knows"),
    [("12.6", 0x2330, True), ("12.6", 0x2901, False), ("12.8", 0x2901, True), ("11.8", 0x2684, True)],
    ids=["12.6 and Hopper", "12.6 and Blackwell", "12.8 and Blackwell", "11.8 and Ada"],
)
def test_which_cuda_has_code_for_which_generation(cuda: str, device: int, knows: bool) -> None:
    found = gpu_generations.generation(device)
    assert found is not None
    assert gpu_generations.cuda_knows(cuda, found) is knows


def test_the_builds_of_torch() -> None:
    assert gpu_generations.torch_cuda_fits("2.7.1+cu128", "12.8")
    assert not gpu_generations.torch_cuda_fits("2.7.1", "12.1"), "the guide's cu121 index has no torch 2.7"
    assert gpu_generations.torch_cuda_fits("2.99.0", "12.1"), "what is not in the table is not judged"


@pytest.mark.parametrize(
    ("cuda", "driver"), [("12.6", "525.60.13"), ("13.0", "580.65.06"), ("11.8", "450.80.02"), ("14.0", "")]
)
def test_the_oldest_driver_of_a_cuda_version(cuda: str, driver: str) -> None:
    assert gpu_generations.driver_needed(cuda) == (driver or "of a later table")
    assert gpu_generations.driver_suffices(driver, cuda) is bool(driver)
