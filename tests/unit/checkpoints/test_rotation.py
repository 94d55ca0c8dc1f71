"""The newest N whole ones and every Mth can resume; what nobody asked to remove stays."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import digests as checkpoint_digests
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import rotation as checkpoint_rotation
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import seal as checkpoint_seal
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import guard as supervisor_guard
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import sha256
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.guarded import Run, killed_before
from tests.unit.support.saves import FILES, MODEL, Killed, content, save

DIGEST = supervisor_guard._digest
SIX = (20, 40, 60, 80, 100, 120)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor_guard._ended.clear()
    monkeypatch.setattr(supervisor_guard, "REST", 0.0)
    monkeypatch.setattr(supervisor_guard, "_digest", lambda *_: None)


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "resumable", "folders"),
    [
        pytest.param(0, 0, [100, 120], [*SIX], id="by default two can resume and no folder goes"),
        pytest.param(0, 60, [60, 100, 120], [*SIX], id="every 60th can resume, too"),
        pytest.param(1, 0, [100, 120], [100, 120], id="two at least, where one was asked for"),
        pytest.param(3, 0, [80, 100, 120], [80, 100, 120], id="the newest three"),
        pytest.param(2, 40, [40, 80, 100, 120], [40, 80, 100, 120], id="two and every 40th"),
        pytest.param(2, 20, [*SIX], [*SIX], id="every save is an Mth"),
    ],
)
@pytest.mark.parametrize("delete", [True, False], ids=["the trainer deletes older states", "the trainer keeps them"])
def test_what_stays(
    tmp_path: Path, keep_last: int, keep_every: int, resumable: list[int], folders: list[int], delete: bool
) -> None:
    run = Run(tmp_path, keep_last=keep_last, keep_every=keep_every).saved(*SIX, delete=delete)
    assert checkpoint_seal.kept_steps(run.place) == resumable
    assert sorted(int(path.name) for path in run.folder.iterdir()) == folders
    if delete:
        assert run.whole() == resumable
    assert not list((run.root / "kept").glob(".*"))
    assert sorted(path.stem for path in (run.root / "kept").glob("*.json")) == [f"{step:07d}" for step in resumable]


@given(
    steps=st.lists(st.integers(1, 500), min_size=1, max_size=30, unique=True).map(sorted),
    last=st.integers(0, 10),
    every=st.integers(0, 50),
)
def test_the_newest_two_stay_whatever_is_asked(steps: list[int], last: int, every: int) -> None:
    stay = checkpoint_rotation.kept_of(steps, last, every)
    assert set(steps[-2:]) <= stay <= set(steps)
    assert len([step for step in stay if not every or step % every]) <= max(last, 2)
    assert all(step in stay for step in steps if every and step % every == 0)


@pytest.mark.parametrize("call", range(60))
def test_rotation_killed_anywhere_goes_on_with_the_next_save(tmp_path: Path, call: int) -> None:
    run = Run(tmp_path, keep_last=2).saved(20, 40)
    save(run.folder, 60)
    with killed_before(call), suppress(Killed):
        supervisor_guard.after_save(run.spec, 60, run.said.append)
    assert run.whole()[-2:] == [40, 60]
    assert run.start() == 60
    run.saved(80)
    assert run.whole() == [60, 80]
    assert sorted(path.name for path in run.folder.iterdir()) == ["0000060", "0000080"]
    assert not list((run.root / "kept").glob(".old*"))


def test_a_users_file_in_a_rotated_folder_stays(tmp_path: Path) -> None:
    run = Run(tmp_path, keep_last=2).saved(20)
    (run.folder / "0000020" / "eval.json").write_text("0.7")
    run.saved(40, 60)
    assert [path.name for path in (run.folder / "0000020").iterdir()] == ["eval.json"]


def test_an_incomplete_older_folder_is_not_judged_by_rotation(tmp_path: Path) -> None:
    run = Run(tmp_path, keep_last=2).saved(20)
    save(run.folder, 30, upto=4)
    run.saved(40, 60, 80)
    assert (run.folder / "0000030").is_dir()


def test_without_links_nothing_is_given_up(tmp_path: Path) -> None:
    run = Run(tmp_path, keep_last=2)
    with mock.patch.object(os, "link", side_effect=OSError(1, "Operation not permitted")):
        run.saved(20, 40, 60, 80)
    assert len(list(run.folder.iterdir())) == 4


def test_links_of_steps_above_the_newest_are_left_alone(tmp_path: Path) -> None:
    run = Run(tmp_path).saved(20, 40, 60)
    for path in (*(run.folder / "0000060").iterdir(), *(run.folder / "0000040").iterdir()):
        path.unlink()
    for step in (40, 60):
        (run.folder / f"{step:07d}").rmdir()
    save(run.folder, 25)
    supervisor_guard.after_save(run.spec, 25, run.said.append)
    assert checkpoint_seal.kept_steps(run.place) == [25, 40, 60]


# disk


@pytest.mark.parametrize(
    ("free", "told"),
    [
        pytest.param(10**12, "", id="plenty"),
        pytest.param(5200, "", id="a little more than a save"),
        pytest.param(4000, "the next save needs 4.9 kB (as step 40 did)", id="less than a save"),
        pytest.param(0, "has 0 B free", id="full"),
    ],
)
def test_a_disk_that_the_next_save_would_fill_is_told(tmp_path: Path, free: int, told: str) -> None:
    run = Run(tmp_path).saved(20, 40)
    with mock.patch.object(os, "statvfs", return_value=mock.Mock(f_bavail=free, f_frsize=1)):
        said = supervisor_guard.low_disk(run.spec)
    assert told in said
    assert bool(said) == bool(told)


def test_what_lies_aside_is_told_with_a_full_disk(tmp_path: Path) -> None:
    run = Run(tmp_path).saved(20)
    save(run.folder, 40, upto=5)
    run.start()
    with mock.patch.object(os, "statvfs", return_value=mock.Mock(f_bavail=1, f_frsize=1)):
        said = supervisor_guard.low_disk(run.spec)
    assert f"kB lie in {run.root}/kept/aside; remove what you do not need" in said


def test_before_the_first_save_nothing_is_known(tmp_path: Path) -> None:
    assert supervisor_guard.low_disk(Run(tmp_path).spec) == ""


# digests beside the training


def test_the_content_of_a_sealed_save_comes_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_guard, "_digest", DIGEST)
    run = Run(tmp_path).saved(20)
    until = time.monotonic() + 10
    while not all("sha256" in entry for entry in _files(run).values()):
        assert time.monotonic() < until
        time.sleep(0.01)
    assert {name: entry["sha256"] for name, entry in _files(run).items()} == {
        name: sha256(content(name, 20)) for name in FILES
    }
    assert checkpoint_digests.flaws(run.place.folder(20), checkpoint_seal.read_manifest(run.place, 20)) == ()
    (run.folder / "0000020" / MODEL[0]).write_bytes(b"else")
    assert checkpoint_digests.flaws(run.place.folder(20), checkpoint_seal.read_manifest(run.place, 20)) == (
        "ema.safetensors is not what was sealed",
    )


def _files(run: Run) -> dict[str, dict[str, object]]:
    manifest = checkpoint_seal.read_manifest(run.place, 20)
    assert manifest is not None
    return dict(manifest["files"])


def test_digests_that_are_known_survive_the_next_seal(tmp_path: Path) -> None:
    run = Run(tmp_path).saved(20)
    checkpoint_digests.fill(run.place, 20, nullcontext(), lambda: False, run.said.append)
    with mock.patch.object(checkpoint_seal, "sha256_of", side_effect=AssertionError):
        run.start()
        supervisor_guard.after_save(run.spec, 20, run.said.append)
        checkpoint_digests.fill(run.place, 20, nullcontext(), lambda: False, run.said.append)
    assert all("sha256" in entry for entry in _files(run).values())


def test_the_end_of_the_training_ends_the_digests(tmp_path: Path) -> None:
    run = Run(tmp_path)
    save(run.folder, 20)
    checkpoint_seal.seal(run.place, 20, run.place.folder(20), run.said.append)
    checkpoint_digests.fill(run.place, 20, nullcontext(), lambda: True, run.said.append)
    assert not any("sha256" in entry for entry in _files(run).values())
    assert not run.said


def test_a_save_that_was_replaced_meanwhile_gets_no_digest_of_the_old_one(tmp_path: Path) -> None:
    run = Run(tmp_path)
    save(run.folder, 20)
    checkpoint_seal.seal(run.place, 20, run.place.folder(20), run.said.append)
    real = checkpoint_seal.sha256_of

    def replaced(path: str, stop: object) -> str:
        found = real(path)
        os.utime(path, ns=(1, 1))
        checkpoint_seal.seal(run.place, 20, run.place.folder(20), run.said.append)
        return found

    with mock.patch.object(checkpoint_seal, "sha256_of", replaced):
        checkpoint_digests.fill(run.place, 20, nullcontext(), lambda: False, run.said.append)
    assert not any("sha256" in entry for entry in _files(run).values())
