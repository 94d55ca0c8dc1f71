"""What a host lacks for its training: for each code what raises it, and a near miss that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding
from ansible_collections.canvas.fleet.plugins.module_utils.machine import environment_findings as host_findings
from ansible_collections.canvas.fleet.plugins.module_utils.machine.environment import Environment, Mount, Space
from ansible_collections.canvas.fleet.plugins.module_utils.machine.host import Host

GB = 10**9
SETTINGS: dict[str, Any] = {
    "nvidia_gpu_expected": True,
    "run_config_use_flex": True,
    "run_config_expected_num_tokens": 8192,
    "run_config_max_num_tokens": 32768,
    "run_config_extra_flags": {},
    "training_state": "started",
    "fleet_agent_apt_packages": ["git"],
    "fleet_agent_dnf_packages": [],
    "conda_env_conda_packages": [],
    "fleet_agent_compiler": False,
    "conda_env_prefix": "/srv/env",
    "conda_env_root": "/srv/conda",
    "training_results_dir": "/srv/out",
    "weights_dir": "/srv/model",
    "conda_env_use_existing": True,
}
GOOD = Environment(
    shm=Space(500 * GB, 500 * GB),
    compiler="/usr/bin/cc",
    headers=True,
    mounts=dict.fromkeys(("conda_env_root", "training_results_dir", "weights_dir"), Mount()),
    listening=(22,),
)


def seen(phase: str = "stopped", gpus: tuple[str, ...] = ("H100",) * 8, **changes: Any) -> Host:
    return Host("a", replace(GOOD, **changes), gpus, driver="580.95.05", phase=phase, time=1000.0)


def check(observed: Host, topology: Topology, **settings: Any) -> list[Finding]:
    return host_findings.check(observed, {**SETTINGS, **settings}, topology)


def topology(rank: int = 0) -> Topology:
    return Topology("pair", ("a", "b"), rank, 8, 4, "10.0.0.1", 29501)


def codes(observed: Host, rank: int = 0, **settings: Any) -> list[str]:
    return [one.code for one in check(observed, topology(rank), **settings)]


def mounts(name: str, **options: bool) -> Host:
    return seen(mounts={name: Mount(**options)})


CASES = [
    ("MOUNT_READ_ONLY", (mounts("weights_dir", read_only=True), {}), (mounts("weights_dir", noexec=True), {})),
    ("MOUNT_NOEXEC", (mounts("conda_env_root", noexec=True), {}), (mounts("conda_env_root"), {})),
    (
        "MOUNT_NOEXEC",
        (mounts("training_results_dir", noexec=True), {}),
        (mounts("training_results_dir", noexec=True), {"run_config_use_flex": False}),
    ),
    ("COMPILER_MISSING", (seen(compiler=""), {}), (seen(compiler=""), {"run_config_use_flex": False})),
    ("COMPILER_MISSING", (seen(headers=False), {}), (seen(headers=None), {})),
    (
        "COMPILER_MISSING",
        (seen(compiler=""), {"fleet_agent_apt_packages": ["git"]}),
        (seen(compiler=""), {"fleet_agent_apt_packages": ["git", "gcc"]}),
    ),
    ("COMPILER_MISSING", (seen(compiler=""), {}), (seen(compiler=""), {"fleet_agent_compiler": True})),
    ("SHM_SMALL", (seen(shm=Space(64_000_000, 0)), {}), (seen(shm=Space(7 * GB, 0)), {})),
    ("SHM_SMALL", (seen(shm=None), {}), (seen(shm=None), {"nvidia_gpu_expected": False})),
    ("PORT_TAKEN", (seen(listening=(22, 29501)), {}), (seen("running", listening=(22, 29501)), {})),
    ("PORT_TAKEN", (seen(listening=(22, 29501)), {}), (seen(listening=(29501,)), {"training_state": "present"})),
    ("GPU_MIXED", (seen(gpus=("H100",) * 7 + ("A100",)), {}), (seen(gpus=("H100",) * 8 + ("T400",)), {})),
]


@pytest.mark.parametrize(
    ("code", "case", "miss"), CASES, ids=[f"{code} {place}" for place, (code, *_) in enumerate(CASES)]
)
def test_a_finding_is_raised_and_its_near_miss_is_not(code: str, case: Any, miss: Any) -> None:
    observed, told = case
    assert code in codes(observed, **told)
    observed, told = miss
    assert [one.code for one in check(observed, topology(), **told) if one.refuses] == []


@pytest.mark.parametrize(
    ("phase", "exchanged", "told"),
    [("running", "", []), ("stopped", "other groups", []), ("finished", "other groups", [])]
    + [(phase, "other groups", ["DATASET_IN_USE"]) for phase in ("running", "restarting", "stopping")],
)
def test_the_file_that_a_loader_reads_is_not_exchanged(phase: str, exchanged: str, told: list[str]) -> None:
    found = host_findings.in_use(phase, exchanged, {"dataset_train_file": "/d/train.parquet"})
    assert [one.code for one in found] == told
    assert all(exchanged in one.found and one.severity == "error" for one in found)


def test_a_good_host_has_no_findings() -> None:
    assert codes(seen()) == []


@pytest.mark.parametrize(
    ("free", "severity"),
    [
        pytest.param(1 * GB, "error", id="the smallest batches do not fit"),
        pytest.param(3 * GB, "note", id="large batches may not fit"),
        pytest.param(7 * GB, None, id="the largest fit"),
    ],
)
def test_how_bad_a_small_shared_memory_is(free: int, severity: str | None) -> None:
    found = check(seen(shm=Space(free, free)), topology())
    assert [one.severity for one in found] == ([severity] if severity else [])


def test_a_driver_that_is_yet_to_be_built_brings_the_compiler() -> None:
    assert codes(replace(seen(compiler="", gpus=()), driver="")) == []


@pytest.mark.parametrize(
    ("rank", "phase", "told"),
    [
        pytest.param(1, "stopped", ["PEER_UNREACHABLE"], id="a further host needs the first"),
        pytest.param(0, "stopped", [], id="the first asks nobody"),
        pytest.param(1, "running", [], id="a run that runs has its answer"),
        pytest.param(1, "finished", [], id="a run that is over starts no more"),
    ],
)
def test_who_must_reach_the_master(rank: int, phase: str, told: list[str]) -> None:
    assert codes(seen(phase, master="no answer within 1 s"), rank) == told


@pytest.mark.parametrize(("rank", "told"), [(0, ["PORT_TAKEN"]), (1, [])], ids=["the first host", "a further host"])
def test_the_rendezvous_port_must_be_free_on_the_host_that_listens(rank: int, told: list[str]) -> None:
    assert codes(seen(listening=(22, 29501)), rank) == told


def pair(ahead: float, begin: float = 999.0, end: float = 1001.0) -> list[Host]:
    first = replace(seen(), asked=(begin, end))
    return [first, replace(first, name="b", time=first.time + ahead)]


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        pytest.param(6.0, [], id="within what the calls leave open"),
        pytest.param(-8.0, [("CLOCK_SKEW", "warning")], id="behind the other host"),
        pytest.param(8.0, [("CLOCK_SKEW", "warning")], id="ahead of the other host"),
        pytest.param(100_000.0, [("CLOCK_SKEW", "error")], id="off by more than a day"),
    ],
)
def test_clocks_of_a_run(ahead: float, told: list[tuple[str, str]]) -> None:
    found = host_findings.between(pair(ahead), SETTINGS)
    assert [(one.code, one.severity) for one in found] == told
    assert all(one.host == "b" for one in found)


def test_hosts_that_were_asked_one_after_the_other_agree_all_the_same() -> None:
    first, second = pair(60.0)
    assert host_findings.between([first, replace(second, asked=(1059.0, 1061.0))], SETTINGS) == []


def test_a_slow_answer_leaves_more_open() -> None:
    assert host_findings.between(pair(8.0, 990.0, 1010.0), SETTINGS) == []


@pytest.mark.parametrize(
    ("second", "told"),
    [
        pytest.param(("A100",) * 8, ["GPU_MIXED"], id="other GPUs on the second host"),
        pytest.param(("H100",) * 4, [], id="fewer of the same"),
        pytest.param((), [], id="none are seen yet"),
    ],
)
def test_gpus_of_a_run(second: tuple[str, ...], told: list[str]) -> None:
    found = host_findings.between([seen(), replace(seen(gpus=second), name="b")], SETTINGS)
    assert [one.code for one in found] == told
