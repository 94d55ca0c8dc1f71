"""The conda channel, the Python in it, and the stand-ins that use it: through their own command lines."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from demo.depot import channel, installer, parts, python_tree, server

STANDIN = installer.STANDIN / "conda_standin.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with what matters of Debian's Python."""
    usr = tmp_path / "root" / "usr"
    library = usr / "lib/python3.11"
    for name in ("test", "encodings", "__pycache__"):
        (library / name).mkdir(parents=True)
        (library / name / "x.py").write_text("x = 1\n")
    for name in ("os.py", "EXTERNALLY-MANAGED", "sitecustomize.py"):
        (library / name).write_text("")
    (library / "sysconfig.py").write_text("            prefix_scheme = 'posix_local'\n")
    (library / "site.py").write_text('path = join(prefix, "dist-packages")\n')
    (usr / "bin").mkdir()
    (usr / "bin/python3.11").write_bytes(b"\x7fELF\x003.11.2\x00dist-packages\x00")
    (usr / "bin/python3.11").chmod(0o755)
    return tmp_path / "root"


def test_debians_habits_are_taken_back(root: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    assert python_tree.extract(root, tree) == "3.11.2"
    assert "site-packages" in (tree / "lib/python3.11/site.py").read_text()
    assert "posix_prefix" in (tree / "lib/python3.11/sysconfig.py").read_text()
    assert (tree / "bin/python3.11").read_bytes() == b"\x7fELF\x003.11.2\x00site-packages\x00"
    assert {str(p.relative_to(tree / "lib/python3.11")) for p in parts.files_below(tree / "lib")} == {
        "encodings/x.py", "os.py", "site.py", "sysconfig.py", "site-packages/README.txt"
    }  # fmt: skip
    assert os.access(tree / "bin/python3", os.X_OK)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("usr/bin/python3.11", "no Python 3.11", id="an image without Python"),
        pytest.param("usr/lib/python3.11/os.py", "no Python 3.11", id="an image without the library"),
    ],
)
def test_another_image_is_refused(root: Path, tmp_path: Path, name: str, message: str) -> None:
    (root / name).unlink()
    with pytest.raises(parts.DepotError, match=message):
        python_tree.extract(root, tmp_path / "tree")


@pytest.mark.parametrize(
    "name", ["usr/lib/python3.11/sysconfig.py", "usr/lib/python3.11/site.py", "usr/bin/python3.11"]
)
def test_a_debian_that_changed_is_noticed(root: Path, tmp_path: Path, name: str) -> None:
    (root / name).write_text("something else")
    with pytest.raises(parts.DepotError, match="not as it was"):
        python_tree.extract(root, tmp_path / "tree")


def generic(name: str, version: str, *depends: str) -> channel.Recipe:
    return channel.Recipe(name, version, "noarch", "h_0", depends, summary=f"{name} of a test")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A channel with tool 1.0, tool 2.0 and lib 3.1; tool needs lib."""
    for name, version, depends in (("tool", "1.0", ("lib >=3",)), ("tool", "2.0", ("lib >=3",)), ("lib", "3.1", ())):
        tree = tmp_path / f"{name}-{version}"
        (tree / "bin").mkdir(parents=True)
        (tree / "bin" / name).write_text(f"#!/bin/sh\necho {name} {version}\n")
        (tree / "bin" / name).chmod(0o755)
        (tree / "bin" / f"{name}-link").symlink_to(name)
        channel.make_package(generic(name, version, *depends), tree, tmp_path / "out" / "channel")
    channel.index(tmp_path / "out" / "channel")
    return tmp_path / "out"


def test_a_package_is_two_tars_in_a_zip(shelf: Path) -> None:
    with zipfile.ZipFile(shelf / "channel/noarch/tool-1.0-h_0.conda") as package:
        assert package.namelist() == ["metadata.json", "pkg-tool-1.0-h_0.tar.zst", "info-tool-1.0-h_0.tar.zst"]
        raw = pyarrow.CompressedInputStream(
            pyarrow.BufferReader(package.read("info-tool-1.0-h_0.tar.zst")), "zstd"
        ).read()
    with tarfile.open(fileobj=io.BytesIO(raw)) as info:
        paths = json.loads(info.extractfile("info/paths.json").read())["paths"]
    kinds = {p["_path"]: (p["path_type"], p["sha256"]) for p in paths}
    digest = hashlib.sha256(b"#!/bin/sh\necho tool 1.0\n").hexdigest()
    assert kinds == {"bin/tool": ("hardlink", digest), "bin/tool-link": ("softlink", digest)}


def test_the_same_files_give_the_same_package(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("a")
    digests = set()
    for turn in range(2):
        os.utime(tmp_path / "tree" / "a", (turn, turn))
        digests.add(parts.sha256(channel.make_package(generic("a", "1"), tmp_path / "tree", tmp_path / str(turn))))
    assert len(digests) == 1


class Conda:
    """The stand-in, run as the installer's bin/conda runs it, but with the interpreter of the tests."""

    def __init__(self, home: Path, address: str) -> None:
        self.home, self.address = home, address
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "CONDA_PKGS_DIRS": str(home / "pkgs")}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(STANDIN), *arguments]
        return subprocess.run(command, env=self.env, check=False, capture_output=True, text=True)

    def create(self, prefix: Path, *specs: str, path: str = "/channel") -> subprocess.CompletedProcess[str]:
        place = ("--prefix", str(prefix), "--override-channels", "--channel", self.address + path)
        return self("create", "--yes", *place, *specs)


@pytest.fixture
def conda(shelf: Path, tmp_path: Path) -> Iterator[Conda]:
    with server.make_server(shelf, 0, "127.0.0.1") as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        (tmp_path / "home").mkdir()
        yield Conda(tmp_path / "home", f"http://127.0.0.1:{running.server_address[1]}")
        running.shutdown()


def names(conda: Conda, prefix: Path) -> dict[str, str]:
    rows: list[dict[str, Any]] = json.loads(conda("list", "--prefix", str(prefix), "--json").stdout)
    return {row["name"]: row["version"] for row in rows}


def test_conda_creates_an_environment_over_http(conda: Conda, tmp_path: Path) -> None:
    prefix = tmp_path / "env"
    done = conda.create(prefix, "tool=1")
    assert done.returncode == 0, done.stderr
    assert names(conda, prefix) == {"tool": "1.0", "lib": "3.1"}
    assert subprocess.run([prefix / "bin/tool-link"], check=True, capture_output=True).stdout == b"tool 1.0\n"
    history = (prefix / "conda-meta/history").read_text()
    assert "# update specs: ['tool=1']" in history
    assert f"+{conda.address}/channel/noarch/tool-1.0-h_0.conda" in history
    assert (prefix / "conda-meta/tool-1.0-h_0.json").stat().st_mode & 0o777 == 0o644
    assert str(prefix) in json.loads(conda("env", "list", "--json").stdout)["envs"]


def test_create_again_replaces_the_environment_and_install_keeps_it(conda: Conda, tmp_path: Path) -> None:
    prefix = tmp_path / "env"
    conda.create(prefix, "lib")
    (prefix / "left").write_text("")
    place = ("--prefix", str(prefix), "--override-channels", "--channel", f"{conda.address}/channel")
    assert conda("install", "--yes", *place, "tool=2").returncode == 0
    assert names(conda, prefix) == {"tool": "2.0", "lib": "3.1"}
    assert (prefix / "left").exists()
    assert conda.create(prefix, "lib").returncode == 0
    assert names(conda, prefix) == {"lib": "3.1"}
    assert not (prefix / "left").exists()


@pytest.mark.parametrize(
    ("specs", "path", "message"),
    [
        pytest.param(["tool=7"], "/channel", "No candidates were found for tool 7", id="a version nobody has"),
        pytest.param(["nothing"], "/channel", "nothing", id="a package nobody has"),
        pytest.param(["tool"], "/none", "GatewayError", id="a channel that is not there"),
        pytest.param(["tool[["], "/channel", "tool[[", id="a spec that cannot be read"),
    ],
)
def test_a_failure_is_one_line_and_leaves_nothing(
    conda: Conda, tmp_path: Path, specs: list[str], path: str, message: str
) -> None:
    done = conda.create(tmp_path / "env", *specs, path=path)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "env").exists()


def test_a_foreign_folder_is_kept(conda: Conda, tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "mine").write_text("mine")
    done = conda.create(tmp_path / "env", "tool")
    assert (done.returncode, "DirectoryNotACondaEnvironmentError" in done.stderr) == (1, True)
    assert [p.name for p in (tmp_path / "env").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        pytest.param(["--version"], 0, "conda 26.7.1.demo", id="the version says demo"),
        pytest.param(["info", "--json"], 0, "stand-in", id="info says what this is"),
        pytest.param(["clean", "--all"], 1, "stand-in", id="an unknown command is refused by name"),
        pytest.param(["list", "-p", "/nowhere"], 1, "EnvironmentLocationNotFound", id="no environment, no list"),
    ],
)
def test_what_the_stand_in_says(conda: Conda, arguments: list[str], code: int, expected: str) -> None:
    done = conda(*arguments)
    assert done.returncode == code
    assert expected in (done.stderr if code else done.stdout)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """An installer whose Python is a shell script that says what it was called with."""
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "lib/python3.11/site-packages").mkdir(parents=True)
    (tree / "bin/python3.11").write_text('#!/bin/sh\necho "called with $*"\n')
    (tree / "bin/python3.11").chmod(0o755)
    (tree / "bin/python3").symlink_to("python3.11")
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr("rattler/__init__.py", "")
    (tmp_path / "files").mkdir()
    made = installer.make_installer(tmp_path / "files", tree, tmp_path / "x.whl", tmp_path / "scratch")
    path = tmp_path / "files" / installer.NAME
    assert made == {"sha256": parts.sha256(path), "bytes": path.stat().st_size}
    return path


def run_installer(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(script), *arguments], check=False, capture_output=True, text=True)


def test_the_installer_lays_down_what_it_carries(script: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "with a space" / "miniforge3"
    done = run_installer(script, "-b", "-p", str(prefix))
    assert done.returncode == 0, done.stderr
    assert "called with -I -m conda_standin --version" in done.stdout
    assert (prefix / "lib/python3.11/site-packages/rattler/__init__.py").is_file()
    assert (prefix / "conda-meta/history").is_file()
    assert b"NOT MINIFORGE" in script.read_bytes()[:200]


def test_an_existing_prefix_is_refused_unless_updated(script: Path, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    refused = run_installer(script, "-b", "-p", str(tmp_path / "p"))
    assert (refused.returncode, "already exists" in refused.stderr) == (1, True)
    assert list((tmp_path / "p").iterdir()) == []
    for _ in range(2):
        assert run_installer(script, "-b", "-u", "-p", str(tmp_path / "p")).returncode == 0


def test_a_cut_installer_changes_nothing(script: Path, tmp_path: Path) -> None:
    script.write_bytes(script.read_bytes()[:-10])
    done = run_installer(script, "-b", "-p", str(tmp_path / "p"))
    assert (done.returncode, "cut off or damaged" in done.stderr) == (1, True)
    assert not (tmp_path / "p").exists()


def test_the_installer_asks_nothing(script: Path, tmp_path: Path) -> None:
    done = run_installer(script, "-p", str(tmp_path / "p"))
    assert (done.returncode, "run it with -b" in done.stderr) == (1, True)
