"""Git in a folder that an account owns: as that account, and not for ever."""

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system import git as git_driver
from ansible_collections.canvas.fleet.plugins.module_utils.system.git import Git

from tests.unit.support.accounts import UID, account_folder, give, plant

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")


def checkout(path: Path) -> Path:
    """A repository of the account's with one commit, whose file a.txt differs from it."""
    path.mkdir()
    who = ("-c", "user.name=x", "-c", "user.email=x@x")
    (path / "a.txt").write_text("one\n")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "x")):
        subprocess.run(["git", "-C", str(path), *words], check=True)
    (path / "a.txt").write_text("two\n")
    for one in (path, *path.rglob("*")):
        give(one)
    return path


@as_root
@pytest.mark.parametrize("way", ["link", "root's folder in the account's", "account's"])
def test_git_runs_as_who_can_exchange_the_folder(tmp_path, monkeypatch, way):
    """While git starts, the account puts its own repository there, and the host's git trusts every folder."""
    account, roots = account_folder(tmp_path), tmp_path / "roots"
    own, path, ran = checkout(account / "own"), account / "code", account / "ran"
    roots.mkdir()
    with (own / ".git/config").open("a") as config:
        config.write(f'[filter "x"]\nclean = "id -u >{ran}; cat"\n')
    (own / ".git/info/attributes").write_text("*.txt filter=x\n")
    if way == "link":
        plant(path, roots)
    else:
        path.mkdir()
        if way == "account's":
            give(path)
    git, real = Git(str(path)), git_driver.programs.start

    def exchanged(*argv, **how):
        if path.is_symlink():
            path.unlink()
        else:
            path.rmdir()
        own.rename(path)
        trusted = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        return real(*argv, **{**how, "env": {**how["env"], **trusted}})

    monkeypatch.setattr(git_driver.programs, "start", exchanged)
    assert git("status", "--porcelain") == b" M a.txt\n"
    assert ran.read_text() == f"{UID}\n"


def test_a_program_of_the_folder_holds_git_up_for_a_while_only(tmp_path, monkeypatch):
    path = checkout(account_folder(tmp_path) / "code")
    with (path / ".git/config").open("a") as config:
        config.write('[filter "x"]\nclean = "sleep 60"\n')
    (path / ".git/info/attributes").write_text("*.txt filter=x\n")
    monkeypatch.setattr(git_driver, "LONGEST", 0.5)
    with pytest.raises(TimeoutError, match=r"git status did not end within 0\.5 s"):
        Git(str(path)).status()


def test_hooks_and_monitors_of_the_folder_do_not_run(tmp_path):
    account = account_folder(tmp_path)
    path, ran = checkout(account / "code"), account / "ran"
    program = path / ".git/hooks/post-checkout"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    with (path / ".git/config").open("a") as config:
        config.write(f'[core]\nfsmonitor = "{program}"\n')
    git = Git(str(path))
    assert git.status() == [(" M", "a.txt")]
    git("checkout", "--quiet", "HEAD", "--", "a.txt")
    git("checkout", "--quiet", "--detach", "HEAD")
    assert not ran.exists()
