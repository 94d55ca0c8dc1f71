"""From starting states of a host to what the role plans."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import decide as nvidia_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import smi as nvidia_smi

from tests.unit.support.nvidia import (
    H100,
    HEADERS,
    LOOSE,
    PROFILE,
    READY,
    REAL,
    V100,
    decide,
)


@pytest.fixture(autouse=True)
def _no_tool_here(monkeypatch):
    monkeypatch.setattr(nvidia_smi, "PLACES", ("/nonexistent",))


NOTHING = {
    "a working driver, toolkit and profile": (REAL, {"devices": [H100], **READY}, {}),
    "an older driver of the same CUDA": (
        "described/2xrtx4090-busy.xml",
        READY,
        {"nvidia_busy_ignore_below": "/srv/blockmoving"},
    ),
    "no GPU by the user's word": ("", {}, {"nvidia_gpu_expected": False}),
    "no GPU by the user's word, though there is one": (REAL, {}, {"nvidia_gpu_expected": False}),
    "no toolkit wanted": (REAL, {}, {"nvidia_toolkit": False}),
}


@pytest.mark.parametrize(("smi", "changes", "settings"), NOTHING.values(), ids=NOTHING)
def test_nothing_is_done_and_it_is_said(smi, changes, settings):
    plan = decide(smi, changes, **settings)
    assert (plan.in_sync, plan.findings) == (True, ())
    assert plan.summary.startswith("nothing to do: ")


CHANGES = {
    "a bare H100": (
        "",
        {"devices": [H100]},
        ["1 NVIDIA GPU without a driver: branch 580 is installed", "no CUDA toolkit at /usr/local/cuda-12.8", PROFILE],
        [HEADERS, "nvidia-open", "nvidia-persistenced", "cuda-toolkit-12-8"],
    ),
    "eight with NVSwitch": (
        "",
        {"devices": [H100] * 8, "nvswitches": 4, **READY},
        ["8 NVIDIA GPUs without a driver: branch 580 is installed"],
        [HEADERS, "nvidia-open", "nvidia-persistenced", "nvidia-fabricmanager"],
    ),
    "a GPU that the open module does not serve": (
        "",
        {"devices": [V100], **READY},
        ["1 NVIDIA GPU without a driver: branch 580 is installed"],
        [HEADERS, "cuda-drivers", "nvidia-persistenced"],
    ),
    "a driver of CUDA 11": (
        "described/1xv100-old.xml",
        {"devices": [V100], **READY},
        ["driver 470.256.02 is too old for CUDA 12.8: branch 580 instead"],
        [HEADERS, "cuda-drivers", "nvidia-persistenced"],
    ),
    "a tool whose driver was never built": (
        "described/driver-not-loaded.txt",
        {"devices": [H100], **READY},
        ["1 NVIDIA GPU without a driver: branch 580 is installed"],
        [HEADERS, "nvidia-open", "nvidia-persistenced"],
    ),
    "a toolkit of another version": (
        REAL,
        {"devices": [H100], "toolkits": ["cuda-13.0"], "profile": "export CUDA_HOME=/usr/local/cuda-13.0\n"},
        ["no CUDA toolkit at /usr/local/cuda-12.8 (there is cuda-13.0)", PROFILE.replace("is missing", "differs")],
        ["cuda-toolkit-12-8"],
    ),
    "a module of Debian's own, without the tool": (
        "",
        {"devices": [H100], "module_installed": True, **READY},
        [
            (
                "the driver's module is installed, the rest is missing (no nvidia-smi on this host): branch 580 "
                "is installed"
            ),
        ],
        [HEADERS, "nvidia-open", "nvidia-persistenced"],
    ),
    "the profile alone": (REAL, {**READY, "profile": ""}, [PROFILE], []),
    "EL 9": (
        "",
        {"devices": [H100], "release": {"ID": "rocky", "VERSION_ID": "9.4"}, **READY},
        ["1 NVIDIA GPU without a driver: branch 580 is installed"],
        ["kernel-devel-6.1.0-x", "@nvidia-driver:580-open"],
    ),
}


@pytest.mark.parametrize(("smi", "changes", "reasons", "packages"), CHANGES.values(), ids=CHANGES)
def test_what_is_missing_is_named_and_installed(smi, changes, reasons, packages):
    plan = decide(smi, changes)
    assert list(plan.reasons) == reasons
    assert plan.values["packages"] == packages
    assert [found.code for found in plan.findings] == (
        ["GPU_TOO_OLD"] if V100 in (changes.get("devices") or []) else []
    )


MENDED = {
    "fabric manager is missing": (
        {"services": {}},
        ["fabric manager is missing, the driver is 570.133.20: NVSwitch needs the same"],
        ["nvidia-fabricmanager-570"],
        [],
    ),
    "fabric manager of another version": (
        {
            "services": {"nvidia-fabricmanager": "failed"},
            "packages": {"nvidia-fabricmanager-570": {"version": "570.86.15-1", "held": True}},
        },
        ["fabric manager 570.86.15, the driver is 570.133.20: NVSwitch needs the same"],
        ["nvidia-fabricmanager-570"],
        [],
    ),
    "fabric manager that does not run": (
        {
            "services": {"nvidia-fabricmanager": "failed"},
            "packages": {"nvidia-fabricmanager-570": {"version": "570.133.20-1", "held": True}},
        },
        ["nvidia-fabricmanager does not run"],
        [],
        ["nvidia-fabricmanager"],
    ),
    "a persistence daemon that does not run": (
        {"services": {"nvidia-fabricmanager": "active", "nvidia-persistenced": "inactive"}},
        ["nvidia-persistenced does not run"],
        [],
        ["nvidia-persistenced"],
    ),
    "all of it": ({"services": {"nvidia-fabricmanager": "active", "nvidia-persistenced": "active"}}, [], [], []),
}


@pytest.mark.parametrize(("changes", "reasons", "packages", "services"), MENDED.values(), ids=MENDED)
def test_nvswitch_needs_a_fabric_manager_of_the_driver_s_version(changes, reasons, packages, services):
    plan = decide("described/8xh100-nvswitch.xml", {**READY, "nvswitches": 4, **changes})
    assert list(plan.reasons) == reasons
    assert (plan.values["packages"], plan.values["services"]) == (packages, services)


def test_what_we_installed_is_held_again_and_what_is_the_user_s_is_not_touched():
    ours = decide(REAL, {**READY, "packages": LOOSE, "record": {"packages": ["nvidia-open"]}})
    assert list(ours.reasons) == ["2 packages of the driver not held: libnvidia-ml1, …"]
    assert ours.values["hold"] == ["libnvidia-ml1", "nvidia-open"]
    assert decide(REAL, {**READY, "packages": LOOSE}).values["hold"] == []
    assert decide(REAL, {**READY, "packages": LOOSE, "record": {"packages": []}}, nvidia_hold=False).in_sync


def test_a_restart_that_secure_boot_makes_useless_is_not_planned_again():
    seen = {
        "devices": [H100],
        "module_installed": True,
        "secure_boot": True,
        "record": {"restart": {"boot": "another", "fault": "not_loaded 6.1.0-x"}},
    }
    plan = decide("described/driver-not-loaded.txt", seen, nvidia_reboot="when_needed")
    assert not plan.values.get("restart")
    assert "did not help" in plan.findings[0].found
    assert "mokutil" in plan.findings[0].remedy


def test_a_record_of_a_restart_makes_no_driver_ours():
    seen = {**READY, "packages": LOOSE, "record": {"restart": {"boot": "another", "fault": "x"}}}
    assert decide(REAL, seen).in_sync


def test_our_source_gives_way_to_one_of_the_user_s():
    foreign = {**READY, "foreign_source": "/etc/apt/sources.list.d/cuda.list"}
    assert decide(REAL, foreign).values["remove"] == []
    plan = decide(REAL, {**foreign, "own_source": "/etc/ours"})
    assert plan.values["remove"] == ["/etc/ours"]
    assert plan.reasons == (
        "two sources for one address, which apt refuses: /etc/apt/sources.list.d/cuda.list and ours, which is removed",
    )


def test_a_kernel_without_headers_is_told_as_such():
    packages = {"nvidia-kernel-open-dkms": {"version": "580.1-1", "held": True}}
    plan = decide("described/driver-not-loaded.txt", {"devices": [H100], **READY, "packages": packages})
    assert plan.reasons == ("the driver has no module for the running kernel 6.1.0-x: the module is built",)
    assert HEADERS in plan.values["packages"]


def test_a_restart_is_planned_with_leave_alone():
    assert decide("described/library-mismatch.txt", {"devices": [H100]}, nvidia_reboot="when_needed").values["restart"]
    assert not decide("", {"devices": [H100]}).values["restart"]
    assert decide("", {"devices": [H100], "nouveau": True}).values["restart"]


def test_a_login_shell_gets_the_guide_s_three_variables(tmp_path):
    import subprocess

    (tmp_path / "p.sh").write_text(nvidia_plan.profile_text("/usr/local/cuda-12.8"))
    script = f'. {tmp_path}/p.sh; echo "$CUDA_HOME|$PATH|$LD_LIBRARY_PATH"'
    for before, after in (("", "/usr/local/cuda-12.8/lib64"), ("/a", "/usr/local/cuda-12.8/lib64:/a")):
        environment = {"PATH": "/bin", "LD_LIBRARY_PATH": before}
        shown = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == f"/usr/local/cuda-12.8|/usr/local/cuda-12.8/bin:/bin|{after}"


@pytest.mark.parametrize("devices", [[], [H100]], ids=["no device", "a device"])
def test_a_driver_that_works_and_names_no_gpu_is_a_broken_one(devices):
    """A broken or hostile host's answer contradicts itself."""
    seen = {"gpus": [], "nvswitches": 4, "packages": LOOSE, "devices": devices, **READY}
    plan = decide(REAL, seen)
    assert [found.code for found in plan.findings] == ["NVIDIA_DRIVER_BROKEN" if devices else "NO_GPU"]
    assert plan.values == {}
