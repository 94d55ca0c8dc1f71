"""The conda channel: true .conda packages, indexed by rattler.

A .conda file is a zip (stored) of metadata.json and two zstd tars: pkg- (the files) and info- (index.json, paths.json).
"""

from __future__ import annotations

import email
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow

from demo.depot.parts import files_below, sha256

TIMESTAMP = 1767225600000  # ms: one fixed date, so that the same files give the same package
ZIP_DATE = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Recipe:
    """index.json of a package. `entry_points` make it a noarch python package."""

    name: str
    version: str
    subdir: str
    build: str
    depends: tuple[str, ...] = ()
    license: str = ""
    summary: str = ""
    entry_points: tuple[str, ...] | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    def index_json(self) -> dict[str, Any]:
        index = {"name": self.name, "version": self.version, "build": self.build, "build_number": 0}
        index |= {"depends": list(self.depends), "license": self.license, "subdir": self.subdir, "timestamp": TIMESTAMP}
        if self.subdir == "noarch":
            index |= {"noarch": "python"} if self.entry_points is not None else {"noarch": "generic"}
            return index | {"arch": None, "platform": None} | self.more
        return index | {"arch": "x86_64", "platform": "linux"} | self.more


def entry(path: Path, name: str) -> dict[str, Any]:
    """One line of paths.json."""
    kind = "softlink" if path.is_symlink() else "hardlink"
    size = 0 if path.is_symlink() and not path.is_file() else path.stat().st_size
    digest = sha256(path) if path.is_file() else sha256(Path(os.devnull))
    return {"_path": name, "path_type": kind, "sha256": digest, "size_in_bytes": size}


def pack_tar(members: dict[str, Path | bytes]) -> bytes:
    """A zstd-compressed tar without owner or date; name → file, link or content."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, source in sorted(members.items()):
            info = tarfile.TarInfo(name)
            info.mtime, info.mode = TIMESTAMP // 1000, 0o644
            if isinstance(source, Path) and source.is_symlink():
                info.type, info.linkname = tarfile.SYMTYPE, os.readlink(source)
                archive.addfile(info)
                continue
            content = source.read_bytes() if isinstance(source, Path) else source
            info.mode = 0o755 if isinstance(source, Path) and os.access(source, os.X_OK) else 0o644
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    packed: bytes = pyarrow.Codec("zstd", compression_level=12).compress(raw.getvalue(), asbytes=True)
    return packed


def make_package(recipe: Recipe, tree: Path, channel: Path) -> Path:
    """Pack every file below `tree` as `channel`/<subdir>/<name>-<version>-<build>.conda."""
    files = {str(path.relative_to(tree)): path for path in files_below(tree)}
    paths = {"paths": [entry(path, name) for name, path in files.items()], "paths_version": 1}
    info = {"index.json": recipe.index_json(), "paths.json": paths, "about.json": {"summary": recipe.summary}}
    if recipe.entry_points is not None:
        noarch = {"type": "python", "entry_points": list(recipe.entry_points)}
        info["link.json"] = {"noarch": noarch, "package_metadata_version": 1}
    texts: dict[str, Path | bytes] = {
        f"info/{name}": json.dumps(text, indent=1).encode() for name, text in info.items()
    }
    texts["info/files"] = "".join(f"{name}\n" for name in files).encode()
    target = channel / recipe.subdir / f"{recipe.stem}.conda"
    target.parent.mkdir(parents=True, exist_ok=True)
    contents = {
        "metadata.json": b'{"conda_pkg_format_version": 2}',
        f"pkg-{recipe.stem}.tar.zst": pack_tar(dict(files)),
        f"info-{recipe.stem}.tar.zst": pack_tar(texts),
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), content)
    return target


def unpack_wheel(wheel: Path, tree: Path) -> tuple[str, ...]:
    """The wheel's files as site-packages/… of a noarch package; returns its console scripts ("pip = a.b:c")."""
    site = tree / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # noqa: S202  zipfile itself keeps names inside the folder
    folder = next(site.glob("*.dist-info"))
    (folder / "INSTALLER").write_text("conda\n")
    (folder / "RECORD").unlink()  # pip must not believe that it owns these files
    scripts = folder / "entry_points.txt"
    if not scripts.is_file():
        return ()
    section = scripts.read_text().partition("[console_scripts]")[2].partition("[")[0]
    return tuple(line.strip() for line in section.splitlines() if "=" in line)


def wheel_recipe(wheel: Path, entry_points: tuple[str, ...]) -> Recipe:
    """A noarch python package that says what the wheel's own metadata says."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    return Recipe(
        name=str(metadata["Name"]).lower(),
        version=str(metadata["Version"]),
        subdir="noarch",
        build="pyh_0",
        depends=("python >=3.9",),
        license=str(metadata.get("License-Expression") or ""),
        summary=str(metadata.get("Summary") or ""),
        entry_points=entry_points,
    )


def python_recipe(version: str) -> Recipe:
    summary = "CPython of Debian 12, made relocatable for canvas-fleet's demo; uses the host's shared libraries"
    needs = ("__glibc >=2.36", "__unix")
    more = {"python_site_packages_path": "lib/python3.11/site-packages"}
    return Recipe("python", version, "linux-64", "debian12_0_cpython", needs, "Python-2.0", summary, more=more)


INDEX = """
import asyncio, os, sys, rattler.index
asyncio.run(rattler.index.index_fs(sys.argv[1], write_zst=True, write_shards=False))
os._exit(0)  # rattler 0.28 may crash (signal 11) while Python takes itself down
"""


def index(channel: Path) -> None:
    """Write repodata.json of every subdir, in a process of its own."""
    subprocess.run([sys.executable, "-c", INDEX, str(channel)], check=True)


def make_channel(channel: Path, tree: Path, version: str, wheels: list[Path], scratch: Path) -> list[str]:
    """Packages and repodata for python and for each wheel; returns the packages' file names."""
    made = [make_package(python_recipe(version), tree, channel)]
    for wheel in wheels:
        folder = scratch / wheel.stem
        scripts = unpack_wheel(wheel, folder)
        made.append(make_package(wheel_recipe(wheel, scripts), folder, channel))
    index(channel)
    return [path.name for path in made]
