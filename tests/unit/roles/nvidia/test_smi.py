import re
import shlex

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import smi as nvidia_smi
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia.smi import parse
from ansible_collections.canvas.fleet.plugins.module_utils.system import limits

from tests.unit.support.places import FIXTURES

RECORDED = FIXTURES / "nvidia-smi"
MIB = 1 << 20
RECORDED_H100 = "580.159.04/nvidia-smi-q.xml"


def text(name):
    return (RECORDED / name).read_text()


MACHINES = {
    "a real H100": (
        "580.159.04/nvidia-smi-q.xml",
        "1 × NVIDIA H100 80GB HBM3, driver 580.159.04",
        "Hopper",
        81559,
    ),
    "eight H100": (
        "described/8xh100-nvswitch.xml",
        "8 × NVIDIA H100 80GB HBM3, driver 570.133.20",
        "Hopper",
        81559,
    ),
    "four A100": ("described/4xa100-80gb.xml", "4 × NVIDIA A100-SXM4-80GB, driver 550.127.05", "Ampere", 81920),
    "two 4090": (
        "described/2xrtx4090-busy.xml",
        "2 × NVIDIA GeForce RTX 4090, driver 535.183.01",
        "Ada Lovelace",
        24564,
    ),
}


@pytest.mark.parametrize(("name", "detail", "architecture", "mib"), MACHINES.values(), ids=MACHINES)
def test_a_working_machine(name, detail, architecture, mib):
    seen = parse(text(name))
    assert (seen.state, seen.detail, seen.trouble) == ("works", detail, "")
    assert len(seen.gpus) == int(detail[0])
    assert {(gpu.architecture, gpu.memory_bytes) for gpu in seen.gpus} == {(architecture, mib * MIB)}
    assert [gpu.index for gpu in seen.gpus] == list(range(len(seen.gpus)))
    assert len({gpu.uuid for gpu in seen.gpus}) == len(seen.gpus)


def test_what_is_wrong_with_single_gpus():
    gpus = parse(text("described/4xa100-80gb-mig-ecc.xml")).gpus
    assert [gpu.mig for gpu in gpus] == [False, True, False, False]
    assert [gpu.ecc_errors for gpu in gpus] == [0, 0, 3, 0]


def test_corrected_errors_and_those_of_the_past_do_not_count():
    (gpu,) = parse(text("580.159.04/nvidia-smi-q.xml").replace("<dram_correctable>0", "<dram_correctable>7")).gpus
    assert gpu.ecc_errors == 0


def test_a_process_that_computes_makes_a_gpu_busy_and_a_desktop_does_not():
    gpus = parse(text("described/2xrtx4090-busy.xml")).gpus
    assert [gpu.busy_processes for gpu in gpus] == [("/srv/blockmoving/miniforge3/envs/bagel/bin/python3 (4242)",), ()]


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("580.159.04/nvidia-smi-q.xml", ()),
        ("described/8xh100-nvswitch.xml", ("Completed",) * 8),
        ("described/8xh100-no-fabric-manager.xml", ("In Progress",) * 8),
    ],
    ids=["no NVSwitch", "fabric up", "fabric manager missing"],
)
def test_the_fabric(name, states):
    assert parse(text(name)).fabric == states


TROUBLES = {
    "driver-not-loaded": (
        "not_loaded",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    ),
    "library-mismatch": ("mismatch", "Failed to initialize NVML: Driver/library version mismatch"),
    "no-devices": ("no_device", "No devices were found"),
    "gpu-lost": ("fallen_off", "Unable to determine the device handle for GPU0000:3B:00.0"),
    "no-library": ("no_library", "NVIDIA-SMI couldn't find libnvidia-ml.so"),
    "no-permission": ("no_permission", "Failed to initialize NVML: Insufficient Permissions"),
}


@pytest.mark.parametrize(("name", "kind", "begins"), [(n, *v) for n, v in TROUBLES.items()], ids=TROUBLES)
def test_a_broken_driver_is_told_in_its_own_words(name, kind, begins):
    seen = parse(text(f"described/{name}.txt"))
    assert (seen.state, seen.trouble, seen.gpus) == ("broken", kind, ())
    assert seen.detail.startswith(begins)


@pytest.mark.parametrize(
    ("given", "kind"),
    [("", "unknown"), ("<html>oops", "unknown"), ("Segmentation fault", "unknown"), ("<nvidia_smi_log/>", "no_device")],
    ids=["silence", "no XML of its own", "a crash", "a log without GPUs"],
)
def test_anything_else_is_broken_too(given, kind):
    assert (parse(given).state, parse(given).trouble) == ("broken", kind)


def test_a_cut_output_is_broken_and_not_half_a_machine():
    whole = text("described/4xa100-80gb.xml")
    for part in (len(whole) // 3, len(whole) // 2, len(whole) - 5):
        assert parse(whole[:part]).state == "broken"


def program(tmp_path, body):
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_tool_is_called_and_its_word_taken_from_either_channel(tmp_path, monkeypatch):
    report, mismatch = (
        shlex.quote(str(RECORDED / path)) for path in ("580.159.04/nvidia-smi-q.xml", "described/library-mismatch.txt")
    )
    program(tmp_path, f'[ "$*" = "-q -x" ] && cat {report}')
    monkeypatch.setattr(nvidia_smi, "PLACES", (str(tmp_path),))
    seen = nvidia_smi.observe_gpus()
    assert (seen.state, seen.gpus[0].memory_bytes) == ("works", 81559 * MIB)
    program(tmp_path, f"cat {mismatch} >&2; exit 18")
    assert nvidia_smi.observe_gpus().trouble == "mismatch"


def test_a_tool_that_hangs_or_cannot_run_is_a_broken_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SMI_SECONDS", 0.2)
    seen = nvidia_smi.observe_gpus(program(tmp_path, "exec sleep 5"))
    assert (seen.state, seen.detail) == ("broken", "nvidia-smi did not answer for 0.2 s")
    seen = nvidia_smi.observe_gpus(str(tmp_path))
    assert seen.state == "broken"
    assert "can't be run" in seen.detail


def test_no_tool_no_gpu(monkeypatch):
    monkeypatch.setattr(nvidia_smi, "PLACES", ("/nonexistent",))
    seen = nvidia_smi.observe_gpus()
    assert (seen.state, seen.gpus, seen.detail) == ("absent", (), "no nvidia-smi on this host")


EIGHT = "described/8xh100-nvswitch.xml"
LOST = "Unable to determine the device handle for GPU0000:3B:00.0: Unknown Error"


@pytest.mark.parametrize(
    ("before", "behind", "said"),
    [
        ("", "", ""),
        (LOST + "\n", "", LOST),
        (
            "",
            "\nWARNING: infoROM is corrupted at gpu 0000:3B:00.0\n",
            "WARNING: infoROM is corrupted at gpu 0000:3B:00.0",
        ),
        (LOST + "\n", "\n<x>not closed", f"{LOST}; <x>not closed"),
    ],
    ids=["nothing", "before", "behind", "both, one like XML"],
)
def test_words_around_the_report_are_kept_and_do_not_spoil_it(before, behind, said):
    seen = parse(before + text(EIGHT) + behind)
    assert (seen.state, len(seen.gpus), seen.said) == ("works", 8, said)


def test_what_a_report_says_of_memory_and_of_what_is_pending():
    plain = text(RECORDED_H100)
    changed = plain.replace("<pending_ecc>Enabled", "<pending_ecc>Disabled").replace(
        "<remapped_row_pending>No", "<remapped_row_pending>Yes"
    )
    changed = changed.replace("<persistence_mode>Enabled", "<persistence_mode>Disabled")
    changed = changed.replace("<used>0 MiB</used>", "<used>80000 MiB</used>", 1)
    changed = changed.replace("<remapped_row_failure>No", "<remapped_row_failure>Yes")
    before, after = parse(plain).gpus[0], parse(changed).gpus[0]
    assert (before.pending, before.persistence, before.memory_used_bytes, before.worn) == ((), True, 0, False)
    assert after.pending == (
        "ECC is Enabled now and Disabled after it",
        "it takes failed memory out of use",
    )
    assert (after.persistence, after.memory_used_bytes, after.memory_held_bytes) == (False, 80000 * MIB, 0)
    assert after.worn


def test_processes_tell_what_they_hold():
    assert parse(text("described/2xrtx4090-busy.xml")).gpus[0].memory_held_bytes > 0
    untold = re.sub("<used_memory>[^<]*", "<used_memory>N/A", text("described/2xrtx4090-busy.xml"))
    assert parse(untold).gpus[0].memory_held_bytes is None
