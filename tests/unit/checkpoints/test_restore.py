"""An older checkpoint is put back by one command, and nothing is lost by it."""

from __future__ import annotations

import os
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import digests as checkpoint_digests
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import restore as checkpoint_restore
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import seal as checkpoint_seal
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import guard as supervisor_guard
from ansible_collections.canvas.fleet.plugins.module_utils.system import units
from ansible_collections.canvas.fleet.plugins.module_utils.system.reach import as_owner

from tests.unit.support import saves
from tests.unit.support.accounts import account_folder, plant, secret_file
from tests.unit.support.guarded import Run, killed_before
from tests.unit.support.saves import Killed, everything, resumes_from, save


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    supervisor_guard._ended.clear()
    monkeypatch.setattr(supervisor_guard, "REST", 0.0)
    monkeypatch.setattr(supervisor_guard, "_digest", lambda *_: None)
    return Run(tmp_path, keep_every=20).saved(20, 40, 60)


@pytest.mark.parametrize("step", [20, 40, 60])
def test_an_older_one_is_what_the_next_start_resumes_from(run: Run, step: int) -> None:
    before = set(everything(run.root))
    done = checkpoint_restore.restore(run.place, step, check=False)
    assert resumes_from(run.folder) == checkpoint_restore.resumes_from(run.place) == step
    assert run.start() == step
    assert bool(done.moves) == (step != 60)
    assert before <= set(everything(run.root))
    assert not checkpoint_restore.restore(run.place, step, check=False).moves


@pytest.mark.parametrize("step", [20, 40])
def test_check_mode_tells_the_same_and_touches_nothing(run: Run, step: int) -> None:
    before = everything(run.root)
    told = checkpoint_restore.restore(run.place, step, check=True)
    assert everything(run.root) == before
    assert checkpoint_restore.restore(run.place, step, check=False) == told
    assert told.before == "20 model\n40 model\n60 whole\n"
    assert told.after.endswith(f"{step} whole\n")


def test_the_run_goes_on_from_there_and_saves_the_same_steps_anew(run: Run) -> None:
    checkpoint_restore.restore(run.place, 20, check=False)
    run.start()
    run.saved(40, 60)
    assert run.start() == 60
    aside = {path.name for path in (run.root / "kept/aside").iterdir()}
    assert {"0000040-1", "0000040-links-1", "0000040.json-1", "0000060-1", "0000060-links-1"} <= aside


def test_what_was_moved_aside_can_be_moved_back_by_hand(run: Run) -> None:
    checkpoint_restore.restore(run.place, 20, check=False)
    os.rename(run.root / "kept/aside/0000060-1", run.folder / "0000060")
    assert run.start() == 60


@pytest.mark.parametrize("call", range(30))
def test_killed_anywhere_and_asked_again_it_comes_to_the_same_end(run: Run, call: int) -> None:
    before = set(everything(run.root))
    with killed_before(call), suppress(Killed):
        checkpoint_restore.restore(run.place, 20, check=False)
    checkpoint_restore.restore(run.place, 20, check=False)
    assert run.start() == 20
    assert before <= set(everything(run.root))


@pytest.mark.parametrize(("step", "found"), [(33, "no such step"), (80, "scheduler.pt is missing"), (-1, "no such")])
def test_a_step_that_cannot_be_had_names_those_that_can(run: Run, step: int, found: str) -> None:
    save(run.folder, 80, upto=9)
    with pytest.raises(FleetError) as error:
        checkpoint_restore.restore(run.place, step, check=False)
    assert found in error.value.found
    assert error.value.expected == "one of 20, 40, 60"
    assert (run.folder / "0000080").is_dir()


def test_what_is_not_what_was_sealed_is_not_put_back(run: Run) -> None:
    manifest = checkpoint_seal.read_manifest(run.place, 40)
    assert manifest is not None
    checkpoint_digests.fill(run.place, 40, nullcontext(), lambda: False, run.said.append)
    path = run.root / "kept/0000040/model.safetensors"
    text, when = bytearray(path.read_bytes()), path.stat()
    text[len(text) // 2] ^= 1
    with mock.patch.object(checkpoint_seal, "MARK", 10):  # as if the file were long: both ends are as they were
        checkpoint_digests.fill(run.place, 40, nullcontext(), lambda: False, run.said.append)
        for one in manifest["files"]:
            manifest["files"][one] = {
                **checkpoint_seal.mark_of(str(run.root / "kept/0000040" / one)),
                "sha256": checkpoint_seal.sha256_of(str(run.root / "kept/0000040" / one)),
            }
        checkpoint_seal.write_manifest(run.place, manifest)
        path.write_bytes(text)
        os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
        with pytest.raises(FleetError, match="step 40 cannot be restored") as error:
            checkpoint_restore.restore(run.place, 40, check=False)
    assert "model.safetensors is not what was sealed" in error.value.found
    assert (run.folder / "0000060").is_dir()


@pytest.mark.parametrize(
    ("state", "refused"),
    [("active", True), ("activating", True), ("deactivating", True), ("inactive", False), ("failed", False)],
)
def test_it_is_refused_while_the_training_runs(state: str, refused: bool) -> None:
    with mock.patch.object(units, "state", return_value=units.UnitState(state)):
        if refused:
            with pytest.raises(FleetError, match="the training runs"):
                checkpoint_restore.refuse_while_running("canvas-training-a")
        else:
            checkpoint_restore.refuse_while_running("canvas-training-a")


def test_without_checkpoints_there_is_nothing_to_put_back(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="no checkpoints"), as_owner(str(tmp_path / "x")):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_works_as_the_owner_of_the_checkpoints() -> None:
    with tempfile.TemporaryDirectory() as root:  # pytest's own lies where only root may enter
        Path(root).chmod(0o711)
        place = saves.place(Path(root))
        os.chown(place.checkpoints, 12345, 12346)
        with as_owner(place.checkpoints):
            assert (os.geteuid(), os.getegid(), os.getgroups()) == (12345, 12346, [12346])
            os.mkdir(f"{place.checkpoints}/0000020")
        assert os.geteuid() == 0
        assert os.stat(f"{place.checkpoints}/0000020").st_uid == 12345


def test_a_link_in_the_place_of_the_checkpoints_makes_nobody_root(tmp_path: Path) -> None:
    """Root would move what lies behind the link: any name there that is no number is in the trainer's way."""
    account, secret = account_folder(tmp_path), secret_file(tmp_path)
    link = plant(account / "checkpoints", secret.parent)
    with as_owner(str(link)), pytest.raises(PermissionError):
        (link / "secret").rename(link / "moved")
    assert os.listdir(secret.parent) == ["secret"]
