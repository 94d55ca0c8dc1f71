"""Findings about what a training meets on its hosts, and about hosts of one run against each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..core.settings import Settings, named
from ..core.topology import Topology
from ..findings.finding import Finding, finding
from . import disagreements, torch_build
from .environment import Environment, Mount, Space
from .host import Host
from .starts import ALIVE, will_start

# Bytes of tensors per token of a batch, float32: latents stand for 16 × 16 × 3 pixels, vision tokens for 14 × 14 × 3.
TENSOR_BYTES = (14 * 14 * 3 * 4, 16 * 16 * 3 * 4)  # at least, at most
PREFETCH = 2  # batches that each worker holds ready (the trainer's prefetch_factor)
SKEW = 5.0  # s between two hosts of a run
SKEW_OF_DAY = 86_400.0  # s; beyond it certificates and package lists are not valid yet, or any more
BRINGS_COMPILER = ("gcc", "clang", "build-essential", "compilers", "c-compiler", "gxx")


def check(host: Host, settings: Settings, topology: Topology) -> list[Finding]:
    """Findings about one host that would stop or spoil its training."""
    around, starts = host.environment, will_start(host.phase, settings)
    # A driver that is yet to be built brings a compiler of its own (dkms).
    compiles = settings["nvidia_gpu_expected"] and settings["run_config_use_flex"] and host.driver
    return [
        *_mounts(around.mounts, settings),
        *(_compiler(around, settings) if compiles else ()),
        *(_shared_memory(around.shm, settings, topology) if settings["nvidia_gpu_expected"] else ()),
        *(_port(around.listening, topology) if starts else ()),
        *(_master(around.master, topology) if starts else ()),
        *_mixed(host.gpu_names[: topology.nproc_per_node], "", settings),
        *torch_build.check(host, settings),
        *disagreements.check(host, settings, topology),
    ]


def in_use(phase: str, exchanged: str, settings: Settings) -> list[Finding]:
    """`exchanged`: why a converge would replace the training file."""
    if not exchanged or phase not in ALIVE:
        return []
    return [
        finding(
            "DATASET_IN_USE",
            found=f"the training is {phase}, and {exchanged}",
            expected=f"{settings['dataset_train_file']} unchanged since the training started",
        )
    ]


def _mounts(mounts: Mapping[str, Mount], settings: Settings) -> Iterator[Finding]:
    for name, options in mounts.items():
        if options.read_only:
            yield finding(
                "MOUNT_READ_ONLY",
                variable=name,
                found=f"{named(settings, name)} lies on a file system that is mounted read-only",
                expected="a writable file system",
            )
    for name, what in {"conda_env_root": "programs", "training_results_dir": "the compile cache"}.items():
        wanted = name == "conda_env_root" or settings["run_config_use_flex"]
        if wanted and name in mounts and mounts[name].noexec:
            yield finding(
                "MOUNT_NOEXEC",
                variable=name,
                found=f"{named(settings, name)} lies on a file system that is mounted noexec",
                expected=f"a file system without noexec for {what}",
            )


def _compiler(around: Environment, settings: Settings) -> Iterator[Finding]:
    names = ("fleet_agent_apt_packages", "fleet_agent_dnf_packages", "conda_env_conda_packages")
    coming = [str(package) for name in names for package in named(settings, name)]  # installed before the start
    brought = settings["fleet_agent_compiler"] or any(package.startswith(BRINGS_COMPILER) for package in coming)
    if not around.compiler and not brought:
        lacking, expected = "no cc, gcc or clang", "a C compiler"
    elif around.headers is False:
        lacking, expected = _no_headers(settings), "Python's headers"
    else:
        return
    yield finding("COMPILER_MISSING", variable="run_config_use_flex", found=lacking, expected=expected)


def _no_headers(settings: Settings) -> str:
    return (
        f"no Python.h below {settings['conda_env_prefix']}/include or in the Python that its virtual "
        "environment is based on"
    )


def _shared_memory(shm: Space | None, settings: Settings, topology: Topology) -> Iterator[Finding]:
    """An error when even the smallest batches do not fit together; a note when large ones may not."""
    extra = settings.get("run_config_extra_flags") or {}
    prefetch = int(extra.get("prefetch_factor", PREFETCH))
    batches = topology.nproc_per_node * max(1, topology.num_workers) * prefetch
    tokens = (settings["run_config_expected_num_tokens"], settings["run_config_max_num_tokens"])
    least, most = (batches * count * size for count, size in zip(tokens, TENSOR_BYTES))
    free = shm.free if shm else 0
    if free >= most:
        return
    judged = finding(
        "SHM_SMALL",
        variable="run_config_num_workers",
        found=f"{free / 1e9:.2f} GB free in /dev/shm",
        expected=f"{least / 1e9:.1f} to {most / 1e9:.1f} GB for the {batches} batches that wait there "
        f"({topology.nproc_per_node} ranks × {max(1, topology.num_workers)} workers × {prefetch})",
    )
    yield judged if free < least else replace(judged, severity="note")


def _port(ports: Sequence[int], topology: Topology) -> Iterator[Finding]:
    if topology.node_rank == 0 and topology.master_port in ports:
        yield finding(
            "PORT_TAKEN",
            variable="run_config_master_port",
            found=f"another program listens on port {topology.master_port}",
            expected="a free port",
        )


def _master(why: str, topology: Topology) -> Iterator[Finding]:
    if why and topology.node_rank > 0:
        yield finding(
            "PEER_UNREACHABLE",
            variable="fleet_address",
            found=f"{topology.master_addr}:{topology.master_port} of {topology.hosts[0]}: {why}",
            expected="a connection; a refused one counts while nothing listens there",
        )


def _mixed(names: Sequence[str], other: str, settings: Settings) -> Iterator[Finding]:
    """`other` says whose GPUs they are compared with, when not with each other."""
    kinds = list(dict.fromkeys(names))
    if len(kinds) > 1 and settings["nvidia_gpu_expected"]:
        yield finding(
            "GPU_MIXED", found=" and ".join(kinds) + (f" (the latter here, the former on {other})" if other else ""),
            expected="GPUs of one kind",
        )  # fmt: skip


def between(hosts: Sequence[Host], settings: Settings) -> list[Finding]:
    """Differences between the hosts of a run, or a host and the controller. The first is the reference."""
    found: list[Finding] = []
    for place, host in enumerate(hosts):
        name, own, first = host.name, host.skew, hosts[0].skew
        if own and abs(own[0]) - own[1] > SKEW_OF_DAY:
            found.append(_clock(name, own[0], "the controller's", "error"))
        elif place and own and first and abs(own[0] - first[0]) - own[1] - first[1] > SKEW:
            found.append(_clock(name, own[0] - first[0], f"{hosts[0].name}'s", ""))
        if place and hosts[0].gpu_names and host.gpu_names:
            pair = [hosts[0].gpu_names[0], host.gpu_names[0]]
            found += [replace(one, host=name) for one in _mixed(pair, hosts[0].name, settings)]
    return found


def _clock(name: str, ahead: float, whose: str, severity: str) -> Finding:
    judged = finding(
        "CLOCK_SKEW",
        host=name,
        found=f"its clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {whose}",
        expected=f"less than {SKEW:.0f} s between the hosts of a run" if not severity else "the time of day",
    )
    return replace(judged, severity=severity) if severity else judged
