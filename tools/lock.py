"""Makes the lock of the training environment: every package of conda and of pip, each with its SHA-256.

    python -m tools.lock NAME [--vars FILE]... [--part pip|conda]... [--glibc 2.34]

What is locked stands in the defaults of the role conda_env (conda_env_python, _channels, _conda_packages,
_pip_packages, _pip_index_url, _pip_extra_index_urls); --vars gives a YAML file, such as a group_vars file, whose plain
values go before. NAME is that of a lock of the role, or a path. Nothing is installed: conda's part is solved by
rattler on this machine, pip's by this machine's pip for Linux on x86_64 and the Python of the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROLE = Path(__file__).resolve().parents[1] / "roles" / "conda_env"
LOCKS = ROLE / "files" / "locks"
OLDER = ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
VIRTUAL = (("__linux", "5.14"), ("__unix", "0"), ("__archspec", "1"))


class LockError(Exception):
    """One line that says what is wrong and what to do."""


def settings(files: Iterable[Path]) -> dict[str, Any]:
    """The role's defaults with the files' values before them; a default that is derived counts as not set."""
    values: dict[str, Any] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    for path in files:
        values |= {name: value for name, value in _read(path).items() if name in values}
    plain = {name: value for name, value in values.items() if "{{" not in str(value)}
    return {"conda_env_channels": ["conda-forge"], **plain}


class _Sealed(str):
    """A value that only Ansible can open (!vault)."""


class _Loader(yaml.SafeLoader):
    """YAML as a group_vars file has it, with Ansible's tags."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: _Sealed(suffix))


def _read(path: Path) -> dict[str, Any]:
    try:
        read = yaml.load(path.read_text(), _Loader) or {}  # noqa: S506 - a safe loader with tags that are not opened
    except yaml.YAMLError as error:
        raise LockError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(read, dict):
        raise LockError(f"{path} holds no variables (a file that is encrypted as a whole can't be read here)")
    sealed = [name for name, value in read.items() if isinstance(value, _Sealed) and name.startswith("conda_env_")]
    if sealed:
        raise LockError(f"{path}: {', '.join(sealed)} is encrypted; give it plain in another file (--vars)")
    return read


def platform_words(values: Mapping[str, Any]) -> list[str]:
    """pip's options for wheels of the hosts instead of this machine."""
    newest = int(str(values["glibc"]).split(".")[1])
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(newest, 4, -1)] + OLDER
    words = ["--only-binary=:all:", "--implementation=cp", f"--python-version={values['conda_env_python']}"]
    words += [f"--platform={name}" for name in platforms]
    index = str(values.get("conda_env_pip_index_url") or "")
    urls = [str(url) for url in values.get("conda_env_pip_extra_index_urls") or []]
    words += ([f"--index-url={index}"] if index else []) + [f"--extra-index-url={url}" for url in urls]
    return words + [f"--trusted-host={urlsplit(url).hostname}" for url in (index, *urls) if url.startswith("http://")]


def resolve(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """pip's own report of what it would install."""
    words = ["--dry-run", "--quiet", "--ignore-installed", *platform_words(values)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", *words, f"--report={report}", f"--target={folder}/none"]
        done = subprocess.run(
            [*command, *values["conda_env_pip_packages"]], capture_output=True, text=True, check=False
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
            raise LockError(f"pip finds no set of packages: {errors[-1]}")
        found: list[dict[str, Any]] = json.loads(report.read_text())["install"]
    return found


def flaws(report: list[dict[str, Any]], python: str) -> list[str]:
    """Problems of the report for that Python, because pip judges markers by its own Python."""
    environment: dict[str, Any] = {
        **default_environment(),
        **LINUX,
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    have = {canonicalize_name(item["metadata"]["name"]): item["metadata"]["version"] for item in report}
    found = []
    for item in report:
        metadata = item["metadata"]
        name = f"{metadata['name']} {metadata['version']}"
        if not SpecifierSet(metadata.get("requires_python") or "").contains(f"{python}.99"):
            found.append(f"{name} needs Python {metadata['requires_python']}")
        for text in metadata.get("requires_dist", []):
            need = Requirement(text)
            if need.marker and not need.marker.evaluate({**environment, "extra": ""}):
                continue
            version = have.get(canonicalize_name(need.name))
            if version is None or not need.specifier.contains(version, prereleases=True):
                found.append(f"{name} needs {need.name}{need.specifier}, there is {version or 'none'}")
    return found


def pip_lock(values: Mapping[str, Any]) -> str:
    """One line a package, with the hash of the very file that pip chose."""
    report = resolve(values)
    wrong = flaws(report, str(values["conda_env_python"]))
    if wrong:
        raise LockError("pip's choice does not fit the environment's Python: " + "; ".join(wrong[:5]))
    lines = []
    for item in report:
        archive = item["download_info"].get("archive_info", {})
        digest = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").partition("sha256=")[2]
        if len(digest) != 64:
            raise LockError(f"{item['metadata']['name']}: the index gives no SHA-256; use one that does")
        lines.append(
            f"{canonicalize_name(item['metadata']['name'])}=={item['metadata']['version']} --hash=sha256:{digest}"
        )
    return text(values, "pip install --require-hashes -r", sorted(lines))


def conda_lock(values: Mapping[str, Any]) -> str:
    """conda's own explicit form: one URL a package."""
    specs = [f"python={values['conda_env_python']}", "pip", *values.get("conda_env_conda_packages", [])]
    virtual = (*VIRTUAL, ("__glibc", str(values["glibc"])))
    records = asyncio.run(solve([str(channel) for channel in values["conda_env_channels"]], specs, virtual))
    lines = [f"{record.url}#sha256:{record.sha256.hex()}" for record in records if record.sha256]
    if len(lines) != len(records):
        raise LockError("the channel gives no SHA-256 for some packages; use one that does")
    return text(values, "conda create --file", ["@EXPLICIT", *sorted(lines)])


async def solve(channels: list[str], specs: list[str], virtual: Iterable[tuple[str, str]]) -> list[Any]:
    import rattler

    machine = [
        rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), rattler.BuildString("0"))
        for name, version in virtual
    ]
    try:
        records: list[Any] = await rattler.solve(
            sources=[rattler.Channel(name) for name in channels],
            specs=[rattler.MatchSpec(spec) for spec in specs],
            platforms=["linux-64", "noarch"],
            virtual_packages=machine,
        )
    except Exception as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise LockError(f"no solution from {', '.join(channels)}: {reason}") from error
    return records


def text(values: Mapping[str, Any], form: str, lines: list[str]) -> str:
    python = values["conda_env_python"]
    return "\n".join(
        [f"# Made by `make lock` for Python {python}, Linux, x86_64; do not edit ({form} FILE).", *lines, ""]
    )


PARTS = {"pip": pip_lock, "conda": conda_lock}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", default="cu126")
    parser.add_argument("--vars", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--part", choices=list(PARTS), action="append")
    parser.add_argument("--glibc", default="2.34", help="the oldest of the hosts; 2.34 is EL 9, 2.36 Debian 12")
    asked = parser.parse_args(words)
    folder = Path(asked.name) if os.sep in asked.name else LOCKS / asked.name
    try:
        values = {**settings(asked.vars), "glibc": asked.glibc}
        made = {part: PARTS[part](values) for part in asked.part or PARTS}
    except LockError as error:
        print(f"canvas-fleet: {error}; no lock was changed", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for part, content in made.items():
        path = folder / f"{part}.txt"
        before = path.read_text().splitlines() if path.exists() else []
        changed = len(set(content.splitlines()) - set(before))
        path.write_text(content)
        print(f"{path}: {content.count('sha256:')} packages, {changed} lines new")
    return 0


if __name__ == "__main__":
    rc = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(rc)  # rattler 0.28 may crash (signal 11) while Python takes itself down
