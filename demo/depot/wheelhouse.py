"""The package index: wheels for the hosts' Python 3.11, fetched once with pip and kept in the cache."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from urllib.parse import quote

from demo.depot.parts import DepotError, Log, Result, place, sha256, write

PINS = Path(__file__).with_name("wheels.txt")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (36, 35, 34, 31, 28, 27, 24, 17)] + ["manylinux2014_x86_64"]
TARGET = ["--only-binary=:all:", "--no-deps", "--python-version=3.11", "--implementation=cp"]
TARGET += [f"--abi={abi}" for abi in ("cp311", "abi3", "none")] + [f"--platform={name}" for name in PLATFORMS]


def pins(text: str) -> dict[str, str]:
    """name → version of the lines `name==version`."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE))


def normal(name: str) -> str:
    """A project's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel_of(folder: Path, name: str, version: str) -> Path | None:
    """The wheel of this pin in `folder`, which holds whole files only (see fetch_group)."""
    for path in sorted(folder.glob("*.whl")):
        project, release = path.name.split("-")[:2]
        if normal(project) == normal(name) and release == version:
            return path
    return None


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def download(folder: Path, requirements: list[str], *options: str) -> str:
    """pip's complaint, or "" when all wheels lie in `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    env = os.environ | {"PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off"}
    done = subprocess.run(
        [*command, *TARGET, *options, *requirements], env=env, check=False, capture_output=True, text=True
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    return "" if done.returncode == 0 else (errors[-1] if errors else f"pip ended with {done.returncode}")


def fetch_torch(folder: Path, version: str, log: Log) -> None:
    """The CPU build of torch, never another one: the pin ends with +cpu, which no CUDA build does.

    Where pip finds it is the machine's own affair; PyTorch's CPU index is asked when it finds none.
    """
    complaint = download(folder, [f"torch=={version}"])
    if complaint:
        log(f"wheelhouse: pip's own places have no torch {version}; asking {CPU_INDEX}")
        complaint = download(folder, [f"torch=={version}"], f"--index-url={CPU_INDEX}", "--timeout=20", "--retries=0")
    if complaint:
        remedy = "give pip a place that has it (PIP_FIND_LINKS=<folder with the wheel>)"
        raise DepotError(f"no CPU build of torch {version} can be had: {complaint}; {remedy}")


def fetch_group(folder: Path, group: list[str], wanted: dict[str, str], log: Log) -> None:
    """The wheels of `group` into `folder`: fetched beside it, looked through, then renamed, so that no part stays."""
    begin = time.monotonic()
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    log(f"wheelhouse: fetching {', '.join(group)}")
    if group == ["torch"]:
        fetch_torch(aside, wanted["torch"], log)
    elif complaint := download(aside, [f"{name}=={wanted[name]}" for name in group]):
        raise DepotError(f"pip cannot fetch {', '.join(group)}: {complaint}")
    for name in group:
        wheel = wheel_of(aside, name, wanted[name])
        if wheel is None or not zipfile.is_zipfile(wheel):
            raise DepotError(f"pip fetched no whole wheel of {name} {wanted[name]}: run it again")
        log(f"wheelhouse: {wheel.name}, {megabytes(wheel.stat().st_size)}")
        wheel.replace(folder / wheel.name)
    shutil.rmtree(aside)
    log(f"wheelhouse: {len(group)} fetched in {time.monotonic() - begin:.1f} s")


def fetch(cache: Path, log: Log) -> dict[str, Path]:
    """Every pinned wheel, name → file; only what is not in the cache yet is fetched, in small groups.

    An interrupt loses at most the group under way.
    """
    folder = cache / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pins(PINS.read_text())
    missing = [name for name, version in wanted.items() if wheel_of(folder, name, version) is None]
    small = [name for name in missing if name != "torch"]
    groups = [["torch"]] * ("torch" in missing) + [small[start : start + 8] for start in range(0, len(small), 8)]
    for group in groups:
        fetch_group(folder, group, wanted, log)
    return {name: wheel for name, version in wanted.items() if (wheel := wheel_of(folder, name, version))}


def page(title: str, links: dict[str, str]) -> str:
    """An index page as PEP 503 wants it: text → address."""
    rows = "".join(f'<a href="{html.escape(href)}">{html.escape(text)}</a><br>\n' for text, href in links.items())
    head = '<!DOCTYPE html>\n<html><head><meta name="pypi:repository-version" content="1.0">'
    return f"{head}<title>{title}</title></head>\n<body>\n{rows}</body></html>\n"


def make_wheels(folder: Path, wheels: dict[str, Path]) -> Result:
    """One flat folder of wheels, with a page for --find-links."""
    for wheel in wheels.values():
        place(wheel, folder / wheel.name)
    write(folder / "index.html", page("wheels", {w.name: link(w) for w in wheels.values()}))
    return {}


def make_simple(folder: Path, wheels: dict[str, Path]) -> Result:
    """The PEP 503 pages: one of all projects, one per project."""
    for name, wheel in wheels.items():
        write(folder / normal(name) / "index.html", page(name, {wheel.name: "../../wheels/" + link(wheel)}))
    write(folder / "index.html", page("simple", {normal(name): f"{normal(name)}/" for name in sorted(wheels)}))
    return {}


def link(wheel: Path) -> str:
    """The wheel's address below its folder, with its digest for pip to check."""
    return f"{quote(wheel.name)}#sha256={sha256(wheel)}"


def digest_input(wheels: dict[str, Path]) -> str:
    """Inputs of the index: names and sizes (a wheel in the cache never changes its content)."""
    return json.dumps(sorted((wheel.name, wheel.stat().st_size) for wheel in wheels.values()))
