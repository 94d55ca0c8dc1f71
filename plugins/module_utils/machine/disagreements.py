"""Findings about facts and settings of a host that contradict each other. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..core.settings import Settings
from ..core.topology import Topology
from ..core.version import numbers
from ..findings.finding import Finding, finding
from . import torch_build
from .gpu_generations import major
from .host import Host
from .starts import ALIVE

TAKEN = 2e9  # bytes of a GPU that no process explains; a driver takes some hundred MB for itself
MADE_FOR = re.compile(r"x86_64|aarch64|arm64|ppc64le|linux-64|linux-aarch64")
NAMES = {"linux-64": "x86_64", "linux-aarch64": "aarch64", "arm64": "aarch64"}
# The C library that wheels want: those of flash-attn, as they are released, and torch's (manylinux_2_28).
FLASH_ATTN_LIBC = ((2, 8), "2.32")
TORCH_LIBC = ((2, 6), "2.28")


def check(host: Host, settings: Settings, topology: Topology) -> Iterator[Finding]:
    exports = {str(name): str(value) for name, value in (settings.get("run_config_env") or {}).items()}
    if settings["nvidia_gpu_expected"]:
        yield from _hidden(host, exports, topology)
        yield from _taken(host)
        yield from _older_toolkit(host, settings, exports)
    yield from _no_torchrun(settings, exports)
    if host.facts and not settings["conda_env_use_existing"]:
        yield from _architecture(host.facts.architecture, settings)
        yield from _libc(host.facts.libc, host, settings)


def _hidden(host: Host, exports: Mapping[str, str], topology: Topology) -> Iterator[Finding]:
    text = exports.get("CUDA_VISIBLE_DEVICES")
    if text is None or not host.gpus:
        return
    seen = visible(text, len(host.gpus))
    if seen < topology.nproc_per_node:
        yield finding(
            "GPU_HIDDEN",
            variable="run_config_env",
            found=f"CUDA_VISIBLE_DEVICES: {text!r} shows {seen} of {len(host.gpus)} GPUs",
            expected=f"{topology.nproc_per_node}, one for each process of this host",
        )


def visible(text: str, there: int) -> int:
    """GPUs that CUDA shows for that value: it stops at the first that is none, and takes none twice."""
    seen: list[str] = []
    for name in (word.strip() for word in text.split(",")):
        if not (name.isdigit() and int(name) < there) and not name.startswith(("GPU-", "MIG-")):
            break
        if name in seen:
            return 0
        seen.append(name)
    return len(seen)


def _older_toolkit(host: Host, settings: Settings, exports: Mapping[str, str]) -> Iterator[Finding]:
    """The loader looks into LD_LIBRARY_PATH before it looks at what torch brings along."""
    build = host.torch_cuda if settings["conda_env_use_existing"] else torch_build.planned(settings)
    if not build:
        return
    own = "run_config_env" if "LD_LIBRARY_PATH" in exports else "nvidia_cuda_version"
    path = exports.get("LD_LIBRARY_PATH") or f"{settings['nvidia_cuda_home']}/lib64"
    first = re.search(r"cuda-(\d+\.\d+)", path)
    if first and major(first[1]) == major(build) and numbers(first[1]) < numbers(build):
        yield finding(
            "TOOLKIT_OLDER",
            variable=own,
            found=f"LD_LIBRARY_PATH={path} in the script, and torch for CUDA {build}",
            expected=f"libraries of CUDA {build} or newer, or none",
        )


def _no_torchrun(settings: Settings, exports: Mapping[str, str]) -> Iterator[Finding]:
    if "PATH" in exports and exports["PATH"].split(":")[0] != (wanted := f"{settings['conda_env_prefix']}/bin"):
        text, expected = f"PATH: {exports['PATH']}", f"a path that begins with {wanted}, where torchrun is"
        yield finding("VARIABLE_INVALID", variable="run_config_env", found=text, expected=expected)


def _taken(host: Host) -> Iterator[Finding]:
    if host.phase in ALIVE:
        return
    for gpu in host.gpus:
        held = gpu.memory_held_bytes
        if held is None or gpu.mig or gpu.memory_used_bytes - held <= TAKEN:
            continue
        yield finding(
            "GPU_MEMORY_TAKEN",
            found=f"GPU {gpu.index} ({gpu.name}): {gpu.memory_used_bytes / 1e9:.1f} of {gpu.memory_bytes / 1e9:.1f} GB "
            f"are in use, {held / 1e9:.1f} GB of it by the processes that nvidia-smi lists",
            expected=f"less than {TAKEN / 1e9:.0f} GB outside of these processes",
        )


def made_for(text: str) -> str:
    """The architecture that a URL or a line of a lock names, as the kernel calls it; "" where it names none."""
    found = MADE_FOR.search(text)
    return NAMES.get(found[0], found[0]) if found else ""


def _architecture(have: str, settings: Settings) -> Iterator[Finding]:
    """Parts of the environment that are made for another architecture."""
    lines = {
        "conda_env_installer_url": [settings["conda_env_installer_url"]],
        "conda_env_lock": [*settings["conda_env_conda_lock"][:2], *settings["conda_env_pip_lock"][:1]],
        "conda_env_flash_attn_from": ["x86_64"] if _flash_attn_wheel(settings) else [],
    }
    others = {name: {made_for(str(line)) for line in given} - {"", have} for name, given in lines.items()}
    wrong = [f"{name} ({', '.join(sorted(kinds))})" for name, kinds in others.items() if kinds]
    if have and wrong:
        yield finding(
            "ARCHITECTURE_OTHER",
            variable=wrong[0].split(" ")[0],
            found=f"a host of {have}, but made for another architecture: {', '.join(wrong)}",
            expected=have,
        )


def _flash_attn_wheel(settings: Settings) -> bool:
    return bool(settings["conda_env_flash_attn"]) and settings["conda_env_flash_attn_from"] == "wheel"


def _libc(have: str, host: Host, settings: Settings) -> Iterator[Finding]:
    """A wheel that this host's C library cannot load, before gigabytes are fetched. Nothing once it was imported."""
    lines = [*settings["conda_env_pip_lock"], *settings["conda_env_pip_packages"]]
    torch = next((str(line) for line in lines if re.match(r"torch\s*==", str(line))), "")
    wheels = (
        ("torch", torch.partition("==")[2], TORCH_LIBC, "conda_env_pip_packages"),
        ("flash_attn", str(settings["conda_env_flash_attn"]), FLASH_ATTN_LIBC, "conda_env_flash_attn_from"),
    )
    for module, version, (since, libc), variable in wheels:
        used = module not in host.proved and (module == "torch" or _flash_attn_wheel(settings))
        if have and used and numbers(version)[:2] >= since and numbers(have) < numbers(libc):
            yield finding(
                "LIBC_OLD",
                variable=variable,
                found=f"glibc {have}, and {module} {version.split()[0]} as a wheel",
                expected=f"glibc {libc} or newer",
            )
