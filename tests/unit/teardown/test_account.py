"""The account goes last, and only with all that it could own."""

from __future__ import annotations

import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system import programs

from tests.unit.support.provisioned import EVERYTHING, Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.fixture
def account(host: Host, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The account as fleet_agent makes it; `calls`: the programs that would have been run."""
    calls: list[str] = []

    def run(*argv: str) -> programs.Done:
        calls.append(argv[0])
        return programs.Done(0)

    found = SimpleNamespace(pw_uid=990, pw_dir=str(host.fleet / "home"), calls=calls)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: found)
    monkeypatch.setattr(programs, "run", run)
    host.write(host.fleet / "home/.cache/x", "x")
    return found


def test_the_account_goes_only_with_all_that_it_could_own(host: Host, account: SimpleNamespace) -> None:
    host.teardown(*EVERYTHING)
    assert "userdel" not in account.calls
    (host.fleet / "models/BAGEL-7B-MoT/config.json").unlink()
    (host.fleet / "outputs/atlas/of-the-trainer/empty").mkdir(parents=True)
    report = host.teardown(*EVERYTHING)
    assert account.calls[-1] == "userdel"
    assert not host.fleet.exists()
    assert "the account nobody-of-this-machine" in {part["path"] for part in report["removed"]}


@pytest.mark.parametrize("keeps", ["a file in its home", "a conda of a person", "an account of a person"])
def test_the_account_stays(host: Host, account: SimpleNamespace, keeps: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.fleet / "models/BAGEL-7B-MoT/config.json").unlink()
    theirs = host.fleet / "home/.cache/x"
    if keeps == "a file in its home":
        theirs = host.write(host.fleet / "home/.ssh/id_ed25519", "x")
    elif keeps == "a conda of a person":
        theirs = host.write(host.fleet / "miniforge3/envs/mine/bin/python", "x")
    else:
        account.pw_uid = 1000
    host.teardown(*EVERYTHING)
    assert "userdel" not in account.calls
    assert theirs.exists()
