import socket
import subprocess
import time

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset.git import fetch_git, quiet
from ansible_collections.canvas.fleet.plugins.module_utils.system import git as git_driver

BODY = bytes(range(256)) * 64


def git(folder, *argv):
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *names, *argv], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "data").mkdir()
    commits = []
    for number in range(2):
        (folder / "data" / "train.parquet").write_bytes(BODY[number:])
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", f"number {number}")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return folder, commits


@pytest.mark.parametrize("allowed", [True, False], ids=["single commits are given", "branches only are given"])
def test_an_older_commit_comes_out_of_the_repository(tmp_path, repository, allowed):
    folder, commits = repository
    git(folder, "config", "uploadpack.allowFilter", str(allowed).lower())
    git(folder, "config", "uploadpack.allowAnySHA1InWant", str(allowed).lower())
    for number, commit in enumerate(commits):
        fetch_git(f"file://{folder}", commit, "data/train.parquet", tmp_path / "p", tmp_path / "cache.git", quiet)
        assert (tmp_path / "p").read_bytes() == BODY[number:]


def test_a_branch_name_is_looked_up_anew(tmp_path, repository):
    folder, _ = repository
    url, cache = f"file://{folder}", tmp_path / "cache.git"
    fetch_git(url, "main", "data/train.parquet", tmp_path / "p", cache, quiet)
    (folder / "data" / "train.parquet").write_bytes(b"newer")
    git(folder, "commit", "--quiet", "-am", "newer")
    fetch_git(url, "main", "data/train.parquet", tmp_path / "p", cache, quiet)
    assert (tmp_path / "p").read_bytes() == b"newer"


@pytest.mark.parametrize(
    ("commit", "inside", "variable"),
    [
        pytest.param("f" * 40, "data/train.parquet", "dataset_commit", id="a commit that is not there"),
        pytest.param("", "data/none.parquet", "dataset_train or dataset_test", id="a file that is not in the commit"),
    ],
)
def test_git_refuses(tmp_path, repository, commit, inside, variable):
    folder, commits = repository
    with pytest.raises(FleetError) as told:
        fetch_git(f"file://{folder}", commit or commits[0], inside, tmp_path / "p", tmp_path / "cache.git", quiet)
    assert told.value.variable == variable


def test_a_repository_that_is_not_there(tmp_path):
    with pytest.raises(FleetError, match="cannot be fetched") as told:
        fetch_git(f"file://{tmp_path}/none", "a" * 40, "x", tmp_path / "p", tmp_path / "cache.git", quiet)
    assert "none" in str(told.value)


def test_a_pointer_of_git_lfs_is_no_file(tmp_path, repository):
    folder, _ = repository
    (folder / "data" / "train.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    git(folder, "commit", "--quiet", "-am", "lfs")
    with pytest.raises(FleetError, match="Git LFS pointer"):
        fetch_git(f"file://{folder}", "main", "data/train.parquet", tmp_path / "p", tmp_path / "cache.git", quiet)


def test_a_server_that_says_nothing_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(git_driver, "POLL", 0.05)
    monkeypatch.setattr(git_driver, "SILENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url, begun = f"git://127.0.0.1:{server.getsockname()[1]}/repo.git", time.monotonic()
        with pytest.raises(FleetError, match="went silent") as told:
            fetch_git(url, "a" * 40, "x", tmp_path / "p", tmp_path / "cache.git", quiet)
    assert told.value.variable == "dataset_repo"
    assert time.monotonic() - begun < 10


def test_a_slow_server_is_waited_for_as_long_as_bytes_arrive(tmp_path, monkeypatch):
    monkeypatch.setattr(git_driver, "POLL", 0.05)
    monkeypatch.setattr(git_driver, "SILENCE", 0.3)
    arrived = iter(range(100, 160))  # some of them while git is set up
    monkeypatch.setattr(git_driver, "bytes_in", lambda folder: next(arrived, 160))
    told = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"git://127.0.0.1:{server.getsockname()[1]}/repo.git"
        with pytest.raises(FleetError, match="went silent"):
            fetch_git(url, "a" * 40, "x", tmp_path / "p", tmp_path / "cache.git", lambda done, total: told.append(done))
    assert max(told) == 160
    assert len(set(told)) > 20
