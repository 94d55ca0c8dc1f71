"""Fills a folder with all that the training environment is made of, for hosts that reach nothing: conda_env_wheelhouse.

    python -m tools.wheelhouse FOLDER [--vars FILE]... [--glibc 2.34]

The folder holds conda's installer, the packages of the lock (conda_env_lock, with both of its parts: `make lock`), and
the wheel of flash-attn that fits the locked torch. Every file is checked against its digest (flash-attn's only where
conda_env_flash_attn_sha256 gives it); what is there already is not fetched again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import flash_attn
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env.lock import lock_lines, pins_of
from ansible_collections.canvas.fleet.plugins.module_utils.system.http import fetch

from tools.lock import LOCKS, LockError, platform_words, settings


def on_progress(done: int, total: int) -> None:
    """Report files, not bytes."""


def conda_part(folder: Path, lines: list[str]) -> int:
    """Each locked package as conda/<subdir>/<file>."""
    for line in lines:
        url, _, digest = line.partition("#sha256:")
        target = folder.joinpath("conda", *url.rsplit("/", 2)[-2:])
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch(url, target, digest, "conda_env_lock", on_progress)
    return len(lines)


def pip_part(folder: Path, lines: list[str], values: Mapping[str, Any]) -> int:
    """pip's own download, by the lock's hashes."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    lock = folder / "pip.txt"
    lock.write_text("".join(f"{line}\n" for line in lines))
    words = ["--no-deps", "--require-hashes", "--quiet", f"--dest={wheels}", *platform_words(values)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *words, f"--requirement={lock}"],
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()[-300:]]
        raise LockError(f"pip cannot fetch the lock's wheels: {errors[-1]}")
    return len(lines)


def flash_part(folder: Path, lines: list[str], values: Mapping[str, Any]) -> int:
    """The wheel for the locked torch: its CUDA is that of the runtime it brings, its ABI the new one from 2.7 on."""
    version = str(values["conda_env_flash_attn"] or "")
    if not version or values["conda_env_flash_attn_from"] != "wheel":
        return 0
    pins = pins_of(line.split(" ")[0] for line in lines)
    cuda = next((text for name, text in pins.items() if name.startswith("nvidia-cuda-runtime")), "")
    torch = pins.get("torch", "")
    minor = tuple(int(part) for part in re.findall(r"\d+", torch)[:2])
    name = flash_attn.wheel_name(
        version, torch=torch, cuda=cuda, cxx11_abi=minor >= (2, 7), python=str(values["conda_env_python"])
    )
    url = flash_attn.wheel_url(name, str(values["conda_env_flash_attn_releases"]))
    target = folder / "wheels" / name
    digest = str(values["conda_env_flash_attn_sha256"] or "")
    if digest:
        fetch(url, target, digest, "conda_env_flash_attn_sha256", on_progress)
    elif not target.exists():
        words = ["--no-deps", "--quiet", f"--dest={target.parent}", *platform_words(values)]
        subprocess.run([sys.executable, "-m", "pip", "download", *words, url], check=True)
    return 1


def locked(values: Mapping[str, Any], part: str) -> list[str]:
    name = str(values["conda_env_lock"] or "")
    path = (Path(name) if os.sep in name else LOCKS / name) / f"{part}.txt"
    if not name or not path.is_file():
        raise LockError(f"the lock has no part for {part} ({path}): make lock makes it")
    return list(lock_lines(path.read_text().splitlines()))


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.wheelhouse", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(".cache/wheelhouse"))
    parser.add_argument("--vars", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--glibc", default="2.34")
    asked = parser.parse_args(words)
    folder = asked.folder.absolute()
    try:
        values = {**settings(asked.vars), "glibc": asked.glibc}
        conda, pip = locked(values, "conda"), locked(values, "pip")
        url = str(values["conda_env_installer_url"])
        target = folder / "installer" / url.rsplit("/", 1)[-1]
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch(url, target, str(values["conda_env_installer_sha256"]), "conda_env_installer_sha256", on_progress)
        counts = conda_part(folder, conda), pip_part(folder, pip, values), flash_part(folder, pip, values)
    except (LockError, FleetError, OSError, subprocess.CalledProcessError) as error:
        print(f"canvas-fleet: {error}", file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: installer, {counts[0]} packages of conda, {counts[1] + counts[2]} of pip, {size / 1e6:.0f} MB")
    print(f"conda_env_wheelhouse: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
