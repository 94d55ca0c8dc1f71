"""The folders of a training's unit, made on this machine as its user."""

from __future__ import annotations

import grp
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import folders as unit_folders
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want

from tests.unit.support import units

USER = "games" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name  # an account that any Debian has


@pytest.fixture
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own lies where only root may enter
        Path(folder).chmod(0o755)
        yield Path(folder)


def want(root: Path, **changes: str) -> Want:
    places = {
        "training_results_dir": str(root / "out/a"),
        "training_checkpoint_dir": str(root / "out/a/checkpoints"),
        "fleet_state_dir": str(root / "state"),
        "fleet_user": USER,
        "fleet_group": grp.getgrgid(pwd.getpwnam(USER).pw_gid).gr_name,
    }
    return units.want(**{**places, **changes})


def test_from_nothing_to_folders_that_are_ready(root: Path) -> None:
    wanted = want(root)
    assert not unit_folders.ready(wanted)
    unit_folders.make(wanted)
    assert unit_folders.ready(wanted)
    assert pwd.getpwuid(os.stat(wanted.checkpoint_dir).st_uid).pw_name == USER
    assert os.stat(wanted.record).st_uid == os.geteuid(), "root's, so that nobody exchanges it"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_the_user_cannot_enter_is_told_with_its_variable(root: Path) -> None:
    (root / "out").mkdir(mode=0o700)  # root's, and closed
    with pytest.raises(FleetError) as caught:
        unit_folders.make(want(root))
    assert caught.value.variable == "training_results_dir"
    assert str(root / "out") in caught.value.found
    assert "no_root_squash" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_in_a_folder_of_the_user_everything_is_made_by_the_user(root: Path) -> None:
    """Where root is nobody (root_squash), this is the only way."""
    account = pwd.getpwnam(USER)
    (root / "out").mkdir(mode=0o700)
    os.chown(root / "out", account.pw_uid, account.pw_gid)
    made = []
    real = os.mkdir

    def seen(path: str, mode: int = 0o777, **folder: Any) -> None:
        made.append((os.geteuid(), path))
        real(path, mode, **folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "mkdir", seen)
        unit_folders.make(want(root))
    assert {uid for uid, path in made if path.startswith(str(root / "out"))} == {account.pw_uid}


def test_a_file_in_the_way_is_told(root: Path) -> None:
    (root / "out").mkdir(mode=0o755)
    (root / "out/a").write_text("")
    with pytest.raises(FleetError, match="is no folder"):
        unit_folders.make(want(root))


def test_a_link_in_the_place_of_a_folder_gives_its_target_to_nobody(root: Path) -> None:
    wanted = want(root)
    unit_folders.make(wanted)
    (root / "precious").mkdir()
    os.rmdir(wanted.kept)
    Path(wanted.kept).symlink_to(root / "precious")
    unit_folders.make(wanted)
    assert (root / "precious").stat().st_uid == os.geteuid()


@pytest.mark.parametrize("umask", [0o027, 0o077])
def test_folders_that_a_closed_umask_closed_are_opened_again(root: Path, umask: int) -> None:
    """The supervisor's code and record lie in them, and it runs as the training's user."""
    wanted = want(root)
    before = os.umask(umask)
    try:
        Path(wanted.payloads).mkdir(parents=True)
        assert not unit_folders.ready(wanted)
    finally:
        os.umask(before)
    unit_folders.make(wanted)
    assert unit_folders.ready(wanted)
    for path in (wanted.state_dir, f"{wanted.state_dir}/training", wanted.record, wanted.payloads):
        assert Path(path).stat().st_mode & 0o777 == 0o755


def test_an_account_that_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(FleetError, match="fleet_user"):
        unit_folders.make(want(root, fleet_user="nobody-of-this-name"))
