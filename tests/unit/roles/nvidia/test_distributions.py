import fnmatch

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import distributions

MODULES = {
    "Hopper": ([0x2330] * 8, "open"),
    "Volta": ([0x1DB5], "proprietary"),
    "Volta beside Ampere": ([0x1DB5, 0x20B2], "proprietary"),
    "a device newer than the table": ([0x3FFF], "open"),
}


@pytest.mark.parametrize(("devices", "module"), MODULES.values(), ids=MODULES)
def test_the_kernel_module_by_generation(devices, module):
    assert distributions.kernel_module(devices) == module


def test_a_host_that_no_module_serves_is_told():
    with pytest.raises(ValueError, match="one GPU needs"):
        distributions.kernel_module([0x1DB5, 0x2901])


RELEASES = {
    "Debian 12": ({"ID": "debian", "VERSION_ID": "12"}, "debian12"),
    "Debian 13": ({"ID": "debian", "VERSION_ID": "13"}, "debian13"),
    "Ubuntu 22.04": ({"ID": "ubuntu", "VERSION_ID": "22.04"}, "ubuntu2204"),
    "Ubuntu 24.04": ({"ID": "ubuntu", "VERSION_ID": "24.04"}, "ubuntu2404"),
    "Rocky 9": ({"ID": "rocky", "VERSION_ID": "9.4"}, "rhel9"),
    "RHEL 9": ({"ID": "rhel", "VERSION_ID": "9.6"}, "rhel9"),
    "Debian 11": ({"ID": "debian", "VERSION_ID": "11"}, None),
    "Debian testing": ({"ID": "debian"}, None),
    "EL 8": ({"ID": "rocky", "VERSION_ID": "8.10"}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("release", "name"), RELEASES.values(), ids=RELEASES)
def test_the_distributions(release, name):
    assert getattr(distributions.system(release), "name", None) == name


X = "linux-headers-6.1.0-x"
PACKAGES = {
    "Debian 12, open": ("debian", "12", "580", "open", False, [X, "nvidia-open", "nvidia-persistenced"]),
    "Ubuntu, proprietary": ("ubuntu", "22.04", "580", "proprietary", False, [X, "cuda-drivers"]),
    "NVSwitch": ("ubuntu", "24.04", "580", "open", True, [X, "nvidia-open", "nvidia-fabricmanager"]),
    "NVSwitch, an older branch": (
        "ubuntu",
        "24.04",
        "570",
        "open",
        True,
        [X, "nvidia-open", "nvidia-fabricmanager-570"],
    ),
    "EL 9": ("rocky", "9.4", "580", "open", False, ["kernel-devel-6.1.0-x", "@nvidia-driver:580-open"]),
    "EL 9, NVSwitch": (
        "rocky",
        "9.4",
        "580",
        "open",
        True,
        ["kernel-devel-6.1.0-x", "@nvidia-driver:580-open", "nvidia-fabricmanager-580.*"],
    ),
    "EL 9, NVSwitch, an older branch": (
        "rocky",
        "9.4",
        "570",
        "open",
        True,
        ["kernel-devel-6.1.0-x", "@nvidia-driver:570-open", "nvidia-fabric-manager-570.*"],
    ),
    "EL 9, proprietary": (
        "rhel",
        "9.6",
        "580",
        "proprietary",
        False,
        ["kernel-devel-6.1.0-x", "@nvidia-driver:580-dkms"],
    ),
}


@pytest.mark.parametrize(
    ("name", "version", "branch", "module", "nvswitch", "packages"), PACKAGES.values(), ids=PACKAGES
)
def test_the_packages_of_a_driver(name, version, branch, module, nvswitch, packages):
    system = distributions.system({"ID": name, "VERSION_ID": version})
    assert distributions.driver_packages(system, branch, module, "6.1.0-x", nvswitch) == packages


PINNED = {
    "what the driver itself needs strictly": (
        ["libegl-nvidia0", "libglx-nvidia0", "libgles-nvidia2", "libnvcuvid1", "libnvoptix1", "firmware-nvidia-gsp"],
        True,
    ),
    "the driver": (["nvidia-open", "cuda-drivers-580", "libcuda1", "nvidia-kernel-open-dkms", "libnvidia-ml1"], True),
    "the toolkit": (["cuda-toolkit-12-6", "libcublas-12-6", "libcudnn9-cuda-12", "libnvjitlink-12-6"], False),
    "the distribution's": (["libnvme1", "firmware-misc-nonfree", "xserver-xorg-video-nouveau"], False),
}


@pytest.mark.parametrize(("names", "pinned"), PINNED.values(), ids=PINNED)
def test_the_pin_reaches_all_of_the_driver(names, pinned):
    for name in names:
        assert any(fnmatch.fnmatch(name, pattern) for pattern in distributions.DRIVER_GLOBS) is pinned, name


HEADERS = {
    "Debian's kernel": ("debian", "12", "6.1.0-40-amd64", ["linux-headers-6.1.0-40-amd64", "linux-headers-amd64"]),
    "Debian's kernel for clouds": (
        "debian",
        "13",
        "6.12.48+deb13-cloud-amd64",
        ["linux-headers-6.12.48+deb13-cloud-amd64", "linux-headers-cloud-amd64"],
    ),
    "Ubuntu's, whose image brings the headers along": (
        "ubuntu",
        "24.04",
        "6.8.0-45-generic",
        ["linux-headers-6.8.0-45-generic"],
    ),
    "a kernel of somebody's own": ("debian", "12", "6.18.5", ["linux-headers-6.18.5"]),
}


@pytest.mark.parametrize(("name", "version", "kernel", "packages"), HEADERS.values(), ids=HEADERS)
def test_headers_of_the_running_kernel_and_of_the_next(name, version, kernel, packages):
    assert distributions.header_packages(distributions.system({"ID": name, "VERSION_ID": version}), kernel) == packages


def test_the_toolkit():
    assert distributions.toolkit_package("12.8") == "cuda-toolkit-12-8"


@pytest.mark.parametrize("branch", ["9" * 5000, "x", "", "580 "])
@pytest.mark.parametrize("system", [("debian", "12"), ("el", "9")])
def test_a_driver_branch_of_a_host_that_is_no_number_raises_nothing(system, branch):
    assert "nvidia-fabric" in distributions.fabric_package(distributions.SYSTEMS[system], branch)
