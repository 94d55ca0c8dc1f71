"""From starting states of a host to what the role plans."""

import copy

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import decide as nvidia_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import observe as nvidia
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import packages as nvidia_packages
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import smi as nvidia_smi

from tests.unit.support.places import FIXTURES

RECORDED = FIXTURES / "nvidia-smi"
SETTINGS = {
    "nvidia_gpu_expected": True,
    "nvidia_driver_branch": "580",
    "nvidia_cuda_version": "12.8",
    "nvidia_cuda_home": "/usr/local/cuda-12.8",
    "nvidia_toolkit": True,
    "nvidia_hold": True,
    "nvidia_reboot": "never",
    "nvidia_repository_url": "https://mirror.test/cuda/repos",
    "nvidia_repository_fingerprint": "",
    "fleet_state_dir": "/nowhere",
    "conda_env_root": "/srv/blockmoving/miniforge3",
}
BARE = {
    "devices": [],
    "nvswitches": 0,
    "nvlink5": 0,
    "loaded": "",
    "module_installed": False,
    "nouveau": False,
    "secure_boot": False,
    "toolkit": False,
    "toolkits": [],
    "profile": "",
    "kernel": "6.1.0-x",
    "boot": "this one",
    "machine": "x86_64",
    "release": {"ID": "debian", "VERSION_ID": "12"},
    "packages": {},
    "services": {},
    "upgrader": False,
    "record": {},
    "keyring": [],
    "foreign_source": "",
    "own_source": "",
}
READY = {"toolkit": True, "toolkits": ["cuda-12.8"], "profile": nvidia_plan.profile_text("/usr/local/cuda-12.8")}
H100, V100, B200 = 0x2330, 0x1DB5, 0x2901


def says(name):
    """What observe_gpus() returns where nvidia-smi prints that fixture; "" for a host without the tool."""
    text = (RECORDED / name).read_text() if name else ""
    return nvidia_smi.observe_gpus("nvidia-smi" if name else "", lambda tool: text)


@pytest.fixture(autouse=True)
def _no_tool_here(monkeypatch):
    monkeypatch.setattr(nvidia_smi, "PLACES", ("/nonexistent",))


def decide(smi, changes=None, **settings):
    seen = copy.deepcopy({**BARE, **says(smi), **(changes or {})})
    return nvidia_plan.decide(seen, {**SETTINGS, **settings}, None)


REAL = "580.159.04/nvidia-smi-q.xml"
NOTHING = {
    "a working driver, toolkit and profile": (REAL, {"devices": [H100], **READY}, {}),
    "an older driver of the same CUDA": ("described/2xrtx4090-busy.xml", READY, {"conda_env_root": "python3"}),
    "no GPU by the user's word": ("", {}, {"nvidia_gpu_expected": False}),
    "no GPU by the user's word, though there is one": (REAL, {}, {"nvidia_gpu_expected": False}),
    "no toolkit wanted": (REAL, {}, {"nvidia_toolkit": False}),
}


@pytest.mark.parametrize(("smi", "changes", "settings"), NOTHING.values(), ids=NOTHING)
def test_nothing_is_done_and_it_is_said(smi, changes, settings):
    plan = decide(smi, changes, **settings)
    assert (plan.in_sync, plan.findings) == (True, ())
    assert plan.summary.startswith("nothing to do: ")


PROFILE = "/etc/profile.d/canvas-fleet-cuda.sh is missing"
HEADERS = "linux-headers-6.1.0-x"
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
            "the driver's module is here, the rest is not (no nvidia-smi on this host): branch 580 is installed",
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


LOOSE = {
    "nvidia-open": {"version": "580.159.04-1", "held": False},
    "libnvidia-ml1": {"version": "580.159.04-1", "held": False},
    "nvidia-container-toolkit": {"version": "1.17.8-1", "held": False},
}
HELD = {name: {**package, "held": True} for name, package in LOOSE.items()}
KNOWN_KEY = "EB693B3035CD5710E231E123A4B469963BF863CC"
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
        {"devices": [B200] * 8, "nvlink5": 4, "fabric": ["Completed"] * 8, **READY},
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
    "a GPU that our own training uses": ("described/2xrtx4090-busy.xml", READY, {"conda_env_root": "python3"}, []),
}


@pytest.mark.parametrize(("smi", "changes", "settings", "codes"), FINDINGS.values(), ids=FINDINGS)
def test_findings(smi, changes, settings, codes):
    plan = decide(smi, changes, **settings)
    assert [found.code for found in plan.findings] == codes
    assert all(found.found and found.expected for found in plan.findings)


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
    assert plan.reasons == ("the driver is installed and has no module for the running kernel 6.1.0-x: it is built",)
    assert HEADERS in plan.values["packages"]


def test_a_restart_is_planned_with_leave_alone():
    assert decide("described/library-mismatch.txt", {"devices": [H100]}, nvidia_reboot="when_needed").values["restart"]
    assert not decide("", {"devices": [H100]}).values["restart"]
    assert decide("", {"devices": [H100], "nouveau": True}).values["restart"]


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
    assert (seen["devices"], seen["nvswitches"], seen["nvlink5"]) == ([0x2330], 1, 1)
    assert (seen["boot"], seen["own_source"]) == ("c0ffee", nvidia_packages.OWN_SOURCES["debian"])
    assert (seen["nouveau"], seen["secure_boot"], seen["toolkit"]) == (True, True, True)
    assert seen["toolkits"] == ["cuda-12.8", "cuda-13.0"]
    assert seen["loaded"].startswith("NVRM version: NVIDIA UNIX Open Kernel Module")
    assert seen["release"] == {"ID": "ubuntu", "VERSION_ID": "24.04"}
    assert (seen["profile"], seen["state"]) == ("x", "absent")


def test_observe_of_a_bare_host_raises_nothing(tmp_path):
    seen = nvidia.observe(SETTINGS, str(tmp_path))
    assert (seen["devices"], seen["toolkit"], seen["secure_boot"], seen["gpus"]) == ([], False, False, [])


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
    assert nvidia.observe(SETTINGS, str(tmp_path))["module_installed"] is built


def test_a_login_shell_gets_the_guide_s_three_variables(tmp_path):
    import subprocess

    (tmp_path / "p.sh").write_text(nvidia_plan.profile_text("/usr/local/cuda-12.8"))
    script = f'. {tmp_path}/p.sh; echo "$CUDA_HOME|$PATH|$LD_LIBRARY_PATH"'
    for before, after in (("", "/usr/local/cuda-12.8/lib64"), ("/a", "/usr/local/cuda-12.8/lib64:/a")):
        environment = {"PATH": "/bin", "LD_LIBRARY_PATH": before}
        shown = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == f"/usr/local/cuda-12.8|/usr/local/cuda-12.8/bin:/bin|{after}"
