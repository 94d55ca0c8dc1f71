"""The whole depot, built from the demo's own trainer and puzzles, with small wheels and a small image."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo import depot
from demo.depot import __main__ as command
from demo.depot import parts, wheelhouse

NAMES = ("torch", "pip", "setuptools", "wheel", "py-rattler")


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image root with a Python in Debian's places, and a wheelhouse that is filled already."""
    library = tmp_path / "root/usr/lib/python3.11"
    library.mkdir(parents=True)
    (library / "os.py").write_text("")
    (library / "sysconfig.py").write_text("prefix_scheme = 'posix_local'\n")
    (library / "site.py").write_text('"dist-packages"\n')
    (tmp_path / "root/usr/bin").mkdir()
    (tmp_path / "root/usr/bin/python3.11").write_bytes(b"\x003.11.2\x00dist-packages\x00")
    (tmp_path / "wheels.txt").write_text("".join(f"{name}==1.0\n" for name in NAMES))
    monkeypatch.setattr(wheelhouse, "PINS", tmp_path / "wheels.txt")
    folder = tmp_path / "cache/wheels"
    folder.mkdir(parents=True)
    for name in NAMES:
        stem = f"{name.replace('-', '_')}-1.0"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")

    @contextmanager
    def image_root(image: str) -> Iterator[Path]:
        yield tmp_path / "root"

    (tmp_path / "image_id").write_text("1")
    (tmp_path / "podman").write_text(f"#!/bin/sh\ncat {tmp_path / 'image_id'}\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(depot, "image_root", image_root)
    return tmp_path


def test_a_second_build_makes_nothing_and_says_the_same(small_world: Path) -> None:
    lines: list[str] = []
    first = depot.build(small_world / "cache", small_world / "out", lines.append)
    assert sum("made in" in line for line in lines) == 9
    lines.clear()
    second = depot.build(small_world / "cache", small_world / "out", lines.append)
    assert second == first == json.loads(json.dumps(first))
    assert [line for line in lines if "made in" in line] == []


def test_every_address_leads_to_a_file(small_world: Path) -> None:
    out = small_world / "out"
    facts = depot.build(small_world / "cache", out, lambda line: None)
    assert parts.sha256(out / facts["installer_path"][1:]) == facts["installer_sha256"]
    assert parts.sha256(out / facts["train_path"][1:]) == facts["train_sha256"]
    assert parts.sha256(out / facts["test_path"][1:]) == facts["test_sha256"]
    assert (out / facts["channel_path"][1:] / "linux-64/repodata.json").is_file()
    assert (out / "git" / facts["code_git"][1:] / "HEAD").is_file()
    assert facts["weights_revision"] in (out / "hf" / facts["hub_repo"] / "repo.json").read_text()
    assert len(facts["weights_sha256"]) == 9
    assert (out / "server.py").read_text() == (depot.HERE / "server.py").read_text()


def test_the_same_revisions_whoever_builds_them(small_world: Path) -> None:
    first = depot.build(small_world / "cache", small_world / "out", lambda line: None)
    shutil.copytree(small_world / "cache/wheels", small_world / "other/wheels")
    assert depot.build(small_world / "other", small_world / "out2", lambda line: None) == first


def test_another_image_changes_what_is_made_of_it_alone(small_world: Path) -> None:
    depot.build(small_world / "cache", small_world / "out", lambda line: None)
    (small_world / "image_id").write_text("2")
    lines: list[str] = []
    depot.build(small_world / "cache", small_world / "out", lines.append)
    assert [line.split()[1] for line in lines if "made in" in line] == ["python", "channel", "files"]


def test_the_command_prints_json_and_a_failure_is_one_line(
    small_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(small_world / "cache"), str(small_world / "out")]
    assert command.main(words) == 0
    assert json.loads(capsys.readouterr().out)["hub_path"] == "/hf"
    (small_world / "root/usr/bin/python3.11").unlink()
    (small_world / "image_id").write_text("2")
    assert command.main(words) == 1
    told = capsys.readouterr().err
    assert told.startswith("canvas-fleet: the host image has no Python 3.11")
    assert told.count("\n") == 1
