"""Compares torch's CUDA build with indexes, driver, GPUs and toolkit. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core.settings import Settings
from ..findings.finding import Finding, finding
from . import gpu_generations as cuda
from .host import Host

TORCH = re.compile(r"torch\s*==\s*([\w.]+)(?:\+cu(\d{2,3}))?(?![\w.])")
RUNTIME = re.compile(r"nvidia-cuda-runtime(?:-cu\d+)?\s*==\s*(\d+\.\d+)")  # what torch's wheel asks for
INDEX = re.compile(r"/cu(\d{2,3})/?$")


def check(host: Host, settings: Settings) -> Iterator[Finding]:
    """Findings about a torch build that does not exist or cannot run here."""
    existing = settings["conda_env_use_existing"]
    if not existing:
        yield from missing(settings)
    build = host.torch_cuda if existing else planned(settings)
    if build and settings["nvidia_gpu_expected"]:
        yield from _unfit(build, host, settings)


def missing(settings: Settings) -> Iterator[Finding]:
    """The CUDA versions that are named for torch, and that it is not built for."""
    torch, _unused = _pinned_version(settings)
    for variable, text, build in _named(settings):
        if not cuda.torch_cuda_fits(torch, build):
            yield finding(
                "TORCH_BUILD_MISSING",
                variable=variable,
                found=f"torch {torch} for CUDA {build} ({variable}: {text})",
                expected=f"torch {torch} for CUDA {' or '.join(cuda.torch_builds(torch))}",
            )


def planned(settings: Settings) -> str:
    """The CUDA version of the torch that will be installed; "" when nothing says it."""
    torch, local = _pinned_version(settings)
    locked = (RUNTIME.match(line) for line in settings["conda_env_pip_lock"])
    named = [build for _unused, _unused, build in _named(settings) if cuda.torch_cuda_fits(torch, build)]
    own_wheels = settings["fleet_pip_find_links"] or settings["conda_env_wheelhouse"]
    usual = [] if own_wheels or not torch else list(cuda.torch_builds(torch)[:1])  # what the usual index serves
    return next(iter([*([local] if local else []), *(one[1] for one in locked if one), *named, *usual]), "")


def _pinned_version(settings: Settings) -> tuple[str, str]:
    """(torch's version, the CUDA version of its local part); empty texts for what is not there."""
    lines = [*settings["conda_env_pip_lock"], *settings["conda_env_pip_packages"]]
    found = next((one for line in lines if (one := TORCH.match(str(line)))), None)
    return (found[1], _version(found[2])) if found else ("", "")


def _named(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(variable, its text, CUDA version) of each place that names a build of torch."""
    texts = [("conda_env_pip_packages", str(line), TORCH, 2) for line in settings["conda_env_pip_packages"]]
    urls = [("conda_env_pip_extra_index_urls", str(url)) for url in settings["conda_env_pip_extra_index_urls"]]
    urls.append(("conda_env_pip_index_url", str(settings["conda_env_pip_index_url"])))
    for variable, text, pattern, group in [*texts, *((variable, url, INDEX, 1) for variable, url in urls)]:
        found = pattern.search(text)
        if found and found[group]:
            yield variable, text, _version(found[group])


def _version(tag: str | None) -> str:
    """126 → 12.6; "" for none."""
    return f"{tag[:-1]}.{tag[-1]}" if tag else ""


def _unfit(build: str, host: Host, settings: Settings) -> Iterator[Finding]:
    driver, version = _driver(host.driver, settings)
    if not cuda.driver_suffices(version, build):
        yield _mismatch(
            build,
            "nvidia_cuda_version",
            found=driver,
            expected=f"driver {cuda.driver_needed(build)} or newer",
            remedy=f'nvidia_cuda_version: "{build}" with an nvidia_driver_branch for it, or torch for an older CUDA',
        )
    for item in {one.name: one for one in map(cuda.generation, host.devices) if one}.values():
        if not cuda.cuda_knows(build, item):
            yield _mismatch(
                build,
                "conda_env_pip_packages",
                found=f"a GPU of the generation {item.name}",
                expected=f"torch for CUDA {item.first_cuda} or newer",
                remedy="pin torch and torchvision of such a build (torch==2.7.1+cu128), name its index in "
                "conda_env_pip_extra_index_urls, and make a lock of them (docs/environment.md)",
            )
    toolkit = str(settings["nvidia_cuda_version"])
    if settings["conda_env_flash_attn_from"] == "source" and cuda.major(toolkit) != cuda.major(build):
        yield _mismatch(
            build,
            "nvidia_cuda_version",
            found=f"toolkit {toolkit} to build flash-attn with",
            expected=f"a toolkit of CUDA {cuda.major(build)}",
        )


def _mismatch(build: str, variable: str, *, found: str, expected: str, remedy: str = "") -> Finding:
    found = f"torch for CUDA {build}, and {found}"
    return finding("TORCH_BUILD_UNFIT", variable=variable, found=found, expected=expected, remedy=remedy)


def _driver(have: str, settings: Settings) -> tuple[str, str]:
    """Name and version of the future driver: the working one that stays, else the newest of the branch."""
    stays = have and cuda.driver_suffices(have, str(settings["nvidia_cuda_version"]))
    branch = settings["nvidia_driver_branch"]
    return (f"driver {have}", have) if stays else (f"nvidia_driver_branch: {branch}", f"{branch}.999")
