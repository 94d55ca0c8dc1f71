"""The git repositories, served by git's own daemon."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.depot import repositories


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "BAGEL-Canvas"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "dataset_info.py").write_bytes(b"DATASET_INFO = {\t}  # no newline at the end")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "crlf.txt").write_bytes(b"a\r\nb\r\n")  # which core.autocrlf would change
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("left behind")
    return folder


def test_the_same_contents_give_the_same_commits(source: Path, tmp_path: Path) -> None:
    first = repositories.make_code(tmp_path / "a", source, tmp_path / "s1")
    os.utime(source / "run.sh", (1, 1))
    (source / "run.sh").chmod(0o775)
    assert repositories.make_code(tmp_path / "b", source, tmp_path / "s2") == first
    (source / "run.sh").write_text("#!/bin/sh\necho\n")
    assert repositories.make_code(tmp_path / "c", source, tmp_path / "s3") != first


def test_the_users_own_git_settings_do_not_matter(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repositories.make_code(tmp_path / "a", source, tmp_path / "s1")
    (tmp_path / ".gitconfig").write_text("[user]\nname = somebody\n[commit]\ngpgsign = true\n[core]\nautocrlf = true\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "somebody")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert repositories.make_code(tmp_path / "b", source, tmp_path / "s2") == first


def test_what_the_two_commits_hold(source: Path, tmp_path: Path) -> None:
    old, new = repositories.make_code(tmp_path / "g", source, tmp_path / "s")
    bare = tmp_path / "g" / "MathCanvas.git"
    names = repositories.git(bare, "diff", "--name-only", old, new).splitlines()
    assert names == ["BAGEL-Canvas/data/dataset_info.py", "README.md"]
    assert repositories.git(bare, "show", f"{new}:BAGEL-Canvas/data/dataset_info.py").endswith("at the end")
    listing = repositories.git(bare, "ls-tree", "-r", new)
    assert "__pycache__" not in listing
    assert [line.split()[0] for line in listing.splitlines() if line.endswith("run.sh")] == ["100755"]


@pytest.fixture
def daemon(source: Path, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    commits = repositories.make_code(tmp_path / "git", source, tmp_path / "s")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--export-all", f"--base-path={tmp_path / 'git'}", "--listen=127.0.0.1", f"--port={port}", "--reuseaddr"]
    command = ["git", "-c", "safe.directory=*", "daemon", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    for _ in range(50):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"git://127.0.0.1:{port}/MathCanvas.git", commits
    os.killpg(process.pid, 15)
    process.wait()


@pytest.mark.parametrize("protocol", ["0", "2"])
def test_a_commit_can_be_fetched_by_its_id(daemon: tuple[str, list[str]], tmp_path: Path, protocol: str) -> None:
    url, (old, new) = daemon
    for commit in (old, new):
        git = ["git", "-c", f"protocol.version={protocol}", "-C", str(tmp_path / commit)]
        subprocess.run(["git", "init", "--quiet", str(tmp_path / commit)], check=True)
        subprocess.run([*git, "fetch", "--quiet", "--depth=1", url, commit], check=True)
        got = subprocess.run([*git, "rev-parse", "FETCH_HEAD"], check=True, capture_output=True, text=True)
        assert got.stdout.strip() == commit


def test_the_data_lies_where_the_users_repository_has_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "train_split.parquet").write_bytes(b"PAR1")
    repositories.make_data(tmp_path / "git", data, tmp_path / "s")
    listing = repositories.git(tmp_path / "git" / "BlockMovingSFT.git", "ls-tree", "-r", "--name-only", "main")
    assert listing.splitlines() == ["README.md", "data/output/train_split.parquet"]
