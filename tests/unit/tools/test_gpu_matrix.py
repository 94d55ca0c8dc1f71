"""The matrix of docs/gpu-hosts.md: fresh, whole, and idempotent wherever the role can do something."""

import pytest

from tools import gpu_matrix

# States that need a person, a restart without leave, or another machine: the plan goes on to say so.
BY_HAND = {
    "after an update: library mismatch",
    "module built, not loaded, Secure Boot",
    "… after a restart that did not help",
    "a GPU that fell off the bus",
    "no GPU",
}
NOT_DESCRIBED = {"B200 with CUDA 12.6", "B200 with CUDA 12.8", "nothing installed, NVSwitches of NVLink 5"}


def test_the_page_is_fresh():
    assert gpu_matrix.main(["--check"]) == 0, "PYTHONPATH=collections python -m tools.gpu_matrix"


@pytest.mark.parametrize("state", [state for state in gpu_matrix.STATES if state not in BY_HAND | NOT_DESCRIBED])
def test_a_second_run_has_nothing_to_do(state):
    assert gpu_matrix.row(state)[-1] == "nothing"


@pytest.mark.parametrize("state", sorted(BY_HAND))
def test_what_the_role_can_not_mend_is_said_again(state):
    _, _, says, codes, _, second = gpu_matrix.row(state)
    assert second == says
    assert codes != "–"


@pytest.mark.parametrize("state", gpu_matrix.STATES)
def test_a_plan_without_reasons_does_nothing_on_the_host(state):
    _, _, says, _, does, _ = gpu_matrix.row(state)
    assert says.startswith("nothing to do") is (does == "nothing")


@pytest.mark.parametrize("system", gpu_matrix.SYSTEMS)
@pytest.mark.parametrize("machine", gpu_matrix.MACHINES)
def test_headers_of_the_running_kernel_and_one_driver_on_every_distribution(system, machine):
    names = gpu_matrix.packages(system, machine)
    assert gpu_matrix.SYSTEMS[system][2] in names
    assert sum(word in names for word in ("nvidia-open", "cuda-drivers", "@nvidia-driver")) == 1
    assert ("fabric" in names) is ("NVSwitch" in machine)
