"""Long work of the role conda_env: run the installer, build a new environment, test its imports, switch.

An interrupted call is continued by the next. It keeps the installer's partial file and pip's cache, and removes
unfinished folders, which are recorded before they are made. The link to the environment moves last, in one rename.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.errors import FleetError, raise_for
from ...core.progress import Progress
from ...findings.finding import finding
from ...machine.disagreements import made_for
from ...system import files, folders, http
from . import absent, decide, flash_attn, observe, sources, tools
from . import proof as conda_proof
from .observe import RECORD, EnvSpec

DRIVER = "/proc/driver/nvidia/version"  # there while NVIDIA's module is loaded


def preview(spec: dict[str, Any]) -> list[str]:
    """What work() would do on this host; changes nothing."""
    if spec.get("absent"):
        return absent.preview(spec)
    seen, want = observe.observe(spec), observe.wanted(spec)
    return [found.found for found in decide.refusals(seen, want)] or decide.differences(seen, want)


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Make the environment of the spec. `spec`: the variables of the role without `conda_env_`.

    Returns changed, prefix, digest, versions, imports and torch (what torch says of itself, when it was imported).
    Raises FleetError for what stands in the way, can't be fetched, can't be solved, or can't be imported.
    """
    if spec.get("absent"):
        return absent.work(spec)
    want = observe.wanted(spec)
    folders.make(os.path.join(want.state_dir, "claims"))
    tools.remove_unfinished(want.state_dir, keep=os.path.realpath(want.prefix))
    folders.remove_tree(os.path.join(want.state_dir, "wheelhouse"))  # where version 0.1 had it
    seen = observe.observe(spec)
    raise_for([*decide.refusals(seen, want), *decide.stale_lock(want)])
    if not decide.differences(seen, want):
        return answer(want, observe.recorded(want), changed=False)
    if want.use_existing and not seen.ours and seen.prefix.kind in ("folder", "link"):
        return answer(want, adopt(want, progress), changed=True)
    return answer(want, converge(want, spec, progress), changed=True)


def answer(want: EnvSpec, record: dict[str, Any], *, changed: bool) -> dict[str, Any]:
    kept = {name: record.get(name) for name in ("python", "versions", "imports", "torch")}
    return {"changed": changed, "prefix": want.prefix, "digest": want.digest, **kept}


def adopt(want: EnvSpec, progress: Progress) -> dict[str, Any]:
    """Test a foreign environment as it is; the record is in our folder."""
    record = prove(want, want.prefix, progress, ours=False)
    folders.make(os.path.dirname(want.adoption_record))
    files.save(want.adoption_record, record)
    return record


def converge(want: EnvSpec, spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    before = os.path.realpath(want.prefix)
    build, state = place(want)
    try:
        if state == "free":
            install_conda(want, spec, progress)
            tools.mark_unfinished(want.state_dir, build)
            create(want, spec, build, progress)
            install_packages(want, spec, build, progress)
        if state != "whole":
            files.save(os.path.join(build, RECORD), prove(want, build, progress))
    except (FleetError, OSError):
        tools.remove_unfinished(want.state_dir, keep=before)  # gigabytes; pip's cache keeps what came
        raise
    tools.unmark(want.state_dir, build)
    tools.switch(build, want.prefix)
    tools.prune(want.state_dir, want.prefix, keep={build, before})
    return files.load(os.path.join(build, RECORD))


def place(want: EnvSpec) -> tuple[str, str]:
    """The folder for this list, and its state. A spoilt folder stays for its users, and a new one is made."""
    for number in range(1, 1000):
        path = f"{want.prefix}.{want.digest[:8]}" + (f"-{number}" if number > 1 else "")
        state = state_of(path, want)
        if state in ("free", "whole", "unproved"):
            return path, state
    raise FleetError("no free name for the environment", variable="conda_env_prefix", found=want.prefix)


def state_of(path: str, want: EnvSpec) -> str:
    """free, whole, unproved (other imports are wanted now), spoilt (changed by hand), foreign (not ours)."""
    record = files.load(os.path.join(path, RECORD))
    if not record:
        return "foreign" if os.path.lexists(path) else "free"
    seen = observe.Observation(
        prefix=observe.Prefix("folder", python_runs=observe.python_runs(path)),
        record=observe.Record.of(record),
        ours=True,
        installed=observe.installed(path),
    )
    if not decide.differences(seen, want):
        return "whole"
    return "spoilt" if decide.differences(seen, replace(want, imports=())) else "unproved"


def install_conda(want: EnvSpec, spec: dict[str, Any], progress: Progress) -> None:
    """Run Miniforge's installer, or one with its command line, for the root."""
    if observe.conda_version(want.root):
        return
    if os.path.isdir(want.root):
        folders.remove_empty(want.root)  # empty, or it would have been refused; the installer wants no folder
    url = sources.installer_url(spec)
    if made_for(url) not in ("", platform.machine()):
        name = "conda_env_installer_url"
        found, expected = f"{url.rsplit('/', 1)[-1]} on {platform.machine()}", f"an installer for {platform.machine()}"
        raise FleetError.of(finding("ARCHITECTURE_OTHER", variable=name, found=found, expected=expected))
    folder = os.path.join(want.state_dir, "download")
    folders.make(folder)
    path = os.path.join(folder, url.rsplit("/", 1)[-1])
    name = os.path.basename(path)
    digest, variable = str(spec["installer_sha256"]), "conda_env_installer_sha256"
    http.fetch(url, Path(path), digest, variable, lambda done, total: progress(done, total, "B", name))
    progress(0, 0, "", f"installing {name}")
    tools.mark_unfinished(want.state_dir, want.root)
    folders.make(os.path.dirname(want.root))
    command = ["bash", path, "-b", "-p", want.root]
    tools.call(command, "the installer of conda failed", variable="conda_env_installer_url")
    absent.remember(want.state_dir, want.root)
    tools.unmark(want.state_dir, want.root)
    files.remove(path)


def create(want: EnvSpec, spec: dict[str, Any], build: str, progress: Progress) -> None:
    """Install from the lock, each file by its digest; without a lock conda solves."""
    progress(0, 0, "", f"conda create: python {want.python}")
    argv = [os.path.join(want.root, "bin", "conda"), "create", "--yes", "--prefix", build]
    if want.conda_lock:
        path = os.path.join(want.state_dir, "conda-lock.txt")
        tools.write_lines(path, ["@EXPLICIT", *sources.locked_urls(want.conda_lock, spec)])
        argv += ["--file", path]
    else:
        channels = [word for channel in spec["channels"] for word in ("--channel", str(channel))]
        argv += ["--override-channels", *channels, f"python={want.python}", "pip", *want.conda_packages]
    folders.make(os.path.dirname(build))
    tools.call(argv, "conda could not make the environment", variable="conda_env_channels")


def install_packages(want: EnvSpec, spec: dict[str, Any], build: str, progress: Progress) -> None:
    """Install the lock, or the pinned list in one resolution; then the flash-attn for the installed torch."""
    python = os.path.join(build, "bin", "python")
    options = sources.pip_options(spec, want.state_dir, observe.installed(build).get("pip", ""))
    failed = "pip could not install the packages"
    if want.pip_lock:
        path = os.path.join(want.state_dir, "pip-lock.txt")
        tools.write_lines(path, want.pip_lock)
        words = [*options, "--require-hashes", "--no-deps", "--requirement", path]
        tools.pip(python, words, failed, progress, "conda_env_lock")
    elif want.pip_packages:
        tools.pip(python, [*options, *want.pip_packages], failed, progress, "conda_env_pip_packages")
    if want.from_source and want.flash_attn:
        tools.build_flash_attn(python, want.flash_attn, options, spec, progress)
    elif want.flash_attn:
        install_flash_attn(want, spec, python, options, progress)


def install_flash_attn(
    want: EnvSpec, spec: dict[str, Any], python: str, options: list[str], progress: Progress
) -> None:
    torch = conda_proof.torch_of(python, want.script.environment(os.path.dirname(os.path.dirname(python))))
    name = flash_attn.wheel_name(
        want.flash_attn,
        torch=torch["version"],
        cuda=torch["cuda"],
        cxx11_abi=torch["cxx11_abi"],
        python=want.python,
        machine=platform.machine(),
    )
    url = sources.flash_attn_url(name, spec)
    failed = "the wheel of flash-attn could not be installed"
    tools.pip(python, [*options, "--no-deps", url], failed, progress, "conda_env_flash_attn")


def prove(want: EnvSpec, prefix: str, progress: Progress, *, ours: bool = True) -> dict[str, Any]:
    """Import everything in one process of the environment, and record the result."""
    progress(0, 0, "", f"importing {len(want.imports)} modules")
    python, script = os.path.join(prefix, "bin", "python"), want.script.environment(prefix)
    gpu = bool(want.script.cuda_home) and os.path.exists(DRIVER)
    flex = "cuda" if want.flex else ""

    def attempt(changed: Mapping[str, str]) -> dict[str, Any]:
        return conda_proof.import_all(python, list(want.imports), script=changed, ours=ours, flex=flex, gpu=gpu)

    proof = attempt(script)
    if proof["failed"]:
        message = f"{len(proof['failed'])} of {len(want.imports)} imports fail"
        raise conda_proof.failure(proof["failed"], script, attempt, message, "conda_env_imports")
    return {
        "written_by": "canvas.fleet, role conda_env",
        "digest": want.digest,
        "python": proof["python"],
        "versions": observe.installed(prefix),
        "imports": proof["imports"],
        "torch": proof["torch"],
        "script": want.script.digest,
        **({"flex_seconds": proof["flex_seconds"]} if "flex_seconds" in proof else {}),
    }
