import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env.flash_attn import wheel_name, wheel_url

CASES = {
    "the trainer's own pins": (
        ("2.8.2", "2.7.1+cu128", "12.8", True, "3.10"),
        "flash_attn-2.8.2+cu12torch2.7cxx11abiTRUE-cp310-cp310-linux_x86_64.whl",
    ),
    "torch of an older ABI": (
        ("2.8.2", "2.6.0+cu124", "12.4", False, "3.11"),
        "flash_attn-2.8.2+cu12torch2.6cxx11abiFALSE-cp311-cp311-linux_x86_64.whl",
    ),
    "CUDA 11": (
        ("2.7.4", "2.4.1+cu118", "11.8", False, "3.12"),
        "flash_attn-2.7.4+cu11torch2.4cxx11abiFALSE-cp312-cp312-linux_x86_64.whl",
    ),
    "a torch without local version": (
        ("2.8.2", "2.10.0", "12.6", True, "3.13"),
        "flash_attn-2.8.2+cu12torch2.10cxx11abiTRUE-cp313-cp313-linux_x86_64.whl",
    ),
}


@pytest.mark.parametrize(("given", "name"), CASES.values(), ids=CASES)
def test_the_wheel_is_named_by_what_torch_says_of_itself(given, name):
    version, torch, cuda, abi, python = given
    assert wheel_name(version, torch=torch, cuda=cuda, cxx11_abi=abi, python=python) == name


@pytest.mark.parametrize(
    ("torch", "cuda", "machine"),
    [
        ("2.13.0+cpu", "", "x86_64"),
        ("2.9.0+cu130", "13.0", "x86_64"),
        ("2.7.1", "12.8", "aarch64"),
        ("2.7.1", "1.2", "x86_64"),
    ],
    ids=["torch without CUDA", "CUDA 13", "another machine", "a number that only begins like CUDA 12"],
)
def test_no_wheel_is_invented(torch, cuda, machine):
    with pytest.raises(FleetError) as caught:
        wheel_name("2.8.2", torch=torch, cuda=cuda, cxx11_abi=True, python="3.10", machine=machine)
    assert caught.value.variable == "conda_env_flash_attn"
    assert torch in caught.value.found


def test_the_url_has_the_release_and_an_escaped_plus():
    name = wheel_name("2.8.2", torch="2.7.1", cuda="12.8", cxx11_abi=True, python="3.10")
    assert wheel_url(name) == (
        "https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.2/"
        "flash_attn-2.8.2%2Bcu12torch2.7cxx11abiTRUE-cp310-cp310-linux_x86_64.whl"
    )
    assert wheel_url(name, "http://mirror/fa/").startswith("http://mirror/fa/v2.8.2/flash_attn-2.8.2%2B")
