"""What the role reads of a host's bus, kernel and toolkits."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import observe as nvidia
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import packages as nvidia_packages
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import smi as nvidia_smi

from tests.unit.support.nvidia import RECORDED, SETTINGS


@pytest.fixture(autouse=True)
def _no_tool_here(monkeypatch):
    monkeypatch.setattr(nvidia_smi, "PLACES", ("/nonexistent",))


def host(root, *, devices=(), modules="", **files):
    """A root folder as /sys, /proc and /usr show it."""
    for number, (vendor, device, kind) in enumerate(devices):
        folder = root / f"sys/bus/pci/devices/0000:{number:02x}:00.0"
        folder.mkdir(parents=True)
        for name, value in (("vendor", vendor), ("device", device), ("class", kind)):
            (folder / name).write_text(value + "\n")
    for path, text in {
        "proc/modules": modules,
        "etc/os-release": (RECORDED / "580.159.04/os-release.txt").read_text(),
        **files,
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="latin-1")


def test_observe_reads_the_bus_the_kernel_and_the_toolkits(tmp_path):
    host(
        tmp_path,
        devices=[
            ("0x10de", "0x2330", "0x030200"),
            ("0x10de", "0x22a3", "0x068000"),
            ("0x10de", "0x22ba", "0x040300"),
            ("0x1a03", "0x2000", "0x030000"),
            ("0x15b3", "0x1021", "0x020700"),
            ("0x15b3", "0x1021", "0x020700"),
            ("0x15b3", "0x1021", "0x020000"),
        ],
        modules="nouveau 2400256 0 - Live 0x0\n",
        **{
            "proc/driver/nvidia/version": (RECORDED / "580.159.04/proc-driver-nvidia-version.txt").read_text(),
            "usr/local/cuda-12.8/bin/nvcc": "",
            "usr/local/cuda-13.0/version.json": "",
            nvidia.SECURE_BOOT: "\x06\0\0\0\x01",
            nvidia.PROFILE.lstrip("/"): "x",
            "proc/sys/kernel/random/boot_id": "c0ffee\n",
            "sys/bus/pci/devices/0000:04:00.0/vpd": "\x82\x2a\0ConnectX-7\x90\x41\0SMDL\x06SW_MNG",
            "sys/bus/pci/devices/0000:05:00.0/vpd": "\x82\x2a\0ConnectX-7\x90\x41\0",
            "sys/bus/pci/devices/0000:06:00.0/vpd": "SW_MNG of an Ethernet port",
            "etc/apt/sources.list.d/canvas-fleet-nvidia.sources": "",
        },
    )
    (tmp_path / "usr/local/cuda-12.8/bin/nvcc").chmod(0o755)
    seen = nvidia.observe(SETTINGS, str(tmp_path))
    assert (seen.devices, seen.nvswitches, seen.nvlink5) == ((0x2330,), 1, 1)
    assert (seen.boot, seen.own_source) == ("c0ffee", nvidia_packages.OWN_SOURCES["debian"])
    assert (seen.nouveau, seen.secure_boot, seen.toolkit) == (True, True, True)
    assert seen.toolkits == ("cuda-12.8", "cuda-13.0")
    assert seen.loaded.startswith("NVRM version: NVIDIA UNIX Open Kernel Module")
    assert seen.release == {"ID": "ubuntu", "VERSION_ID": "24.04"}
    assert (seen.profile, seen.state) == ("x", "absent")


def test_observe_of_a_bare_host_raises_nothing(tmp_path):
    seen = nvidia.observe(SETTINGS, str(tmp_path))
    assert (seen.devices, seen.toolkit, seen.secure_boot, seen.gpus) == ((), False, False, ())


BUILT = {
    "NVIDIA's": ("updates/dkms/nvidia.ko.xz", True),
    "Debian's own": ("updates/dkms/nvidia-current.ko.xz", True),
    "another driver's": ("updates/dkms/nvidiafb.ko.xz", False),
    "another place": ("kernel/drivers/gpu/nvidia.ko.xz", False),
}


@pytest.mark.parametrize(("module", "built"), BUILT.values(), ids=BUILT)
def test_a_module_that_is_built_for_the_running_kernel_is_seen(tmp_path, monkeypatch, module, built):
    monkeypatch.setattr(nvidia.platform, "release", lambda: "6.1.0-x")
    host(tmp_path, **{f"lib/modules/6.1.0-x/{module}": "", "lib/modules/5.0/updates/dkms/nvidia.ko": ""})
    assert nvidia.observe(SETTINGS, str(tmp_path)).module_installed is built
