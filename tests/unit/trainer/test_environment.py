"""What the trainer's processes see of the script's exports."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.environment import Script, given

SETTINGS: dict[str, Any] = {
    "nvidia_gpu_expected": True,
    "nvidia_cuda_home": "/usr/local/cuda-12.6",
    "run_config_env": {"NCCL_SOCKET_IFNAME": "eth1", "OMP_NUM_THREADS": 8},
}
PREFIX = "/srv/envs/bagel"


def test_on_a_host_with_gpus_the_toolkit_comes_first() -> None:
    seen = Script.of(SETTINGS).environment(PREFIX)
    assert seen["CONDA_PREFIX"] == PREFIX
    assert seen["PATH"].split(":")[:2] == ["/usr/local/cuda-12.6/bin", f"{PREFIX}/bin"]
    assert (seen["CUDA_HOME"], seen["LD_LIBRARY_PATH"]) == ("/usr/local/cuda-12.6", "/usr/local/cuda-12.6/lib64")
    assert (seen["NCCL_SOCKET_IFNAME"], seen["OMP_NUM_THREADS"]) == ("eth1", "8")


@pytest.mark.parametrize("no", [False, "False", "false"])
def test_without_gpus_there_is_no_toolkit(no: object) -> None:
    seen = Script.of({**SETTINGS, "nvidia_gpu_expected": no}).environment(PREFIX)
    assert not {"CUDA_HOME", "LD_LIBRARY_PATH"} & set(seen)
    assert seen["PATH"].startswith(f"{PREFIX}/bin:/")


def test_the_users_own_exports_replace_the_scripts() -> None:
    own = {**SETTINGS, "run_config_env": {"LD_LIBRARY_PATH": "/opt/lib"}}
    assert Script.of(own).environment(PREFIX)["LD_LIBRARY_PATH"] == "/opt/lib"


@pytest.mark.parametrize("text", [None, "", "A=1", ["A"]])
def test_what_is_no_mapping_exports_nothing(text: object) -> None:
    assert given({"run_config_env": text}) == given({}) == {}


def test_the_digest_follows_what_chooses_libraries_and_not_its_order() -> None:
    one, turned = ({"A": "1", "B": "2"}, {"B": "2", "A": "1"})
    assert Script("/cuda", one).digest == Script("/cuda", turned).digest
    assert len({Script("/cuda", one).digest, Script("", one).digest, Script("/cuda", {"A": "1"}).digest}) == 3
