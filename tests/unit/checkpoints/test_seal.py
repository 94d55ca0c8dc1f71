"""A finished save is linked, put on record, and on the disk."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import seal as checkpoint_seal
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import guard as supervisor_guard

from tests.unit.support import saves
from tests.unit.support.guarded import Run, killed_before
from tests.unit.support.saves import FILES, MODEL, SHARDS, STATE, Killed, save


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    supervisor_guard._ended.clear()
    monkeypatch.setattr(supervisor_guard, "REST", 0.0)
    monkeypatch.setattr(supervisor_guard, "_digest", lambda *_: None)
    return Run(tmp_path)


def test_a_later_save_of_the_same_step_is_a_save_of_its_own(run: Run) -> None:
    run.saved(20, 40)
    for name in MODEL + STATE:
        path = run.folder / "0000040" / name
        path.unlink()
        path.write_bytes(saves.content(name, 41))
        os.utime(path, ns=(1, 1))
    supervisor_guard.before_start(run.spec, run.said.append)
    supervisor_guard.after_save(run.spec, 40, run.said.append)
    manifest = checkpoint_seal.read_manifest(run.place, 40)
    assert manifest is not None
    assert {entry["mtime"] for entry in manifest["files"].values()} == {1}
    assert (run.root / "kept/0000040/scheduler.pt").read_bytes() == saves.content("scheduler.pt", 41)
    assert (run.root / "kept/aside/0000040-1/scheduler.pt").read_bytes() == saves.content("scheduler.pt", 40)


def test_the_manifest_tells_sizes_and_shards(run: Run) -> None:
    run.saved(20)
    told = json.loads((run.root / "kept/0000020.json").read_text())
    assert (told["step"], told["shards"], told["links"]) == (20, SHARDS, True)
    assert {name: entry["size"] for name, entry in told["files"].items()} == {
        name: len(saves.content(name, 20)) for name in FILES
    }


def test_the_files_of_a_save_and_their_names_are_on_the_disk_before_its_manifest(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after the manifest loses nothing that it names."""
    synced, real = list[str](), os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1])
    run.saved(20)
    before = synced[: next(at for at, path in enumerate(synced) if Path(path).name.startswith(".0000020.json."))]
    assert {str(run.folder / "0000020" / name) for name in FILES} <= set(before)
    assert str(run.folder / "0000020") in before


def test_where_no_links_can_be_made_the_save_is_sealed_all_the_same(run: Run) -> None:
    with mock.patch.object(os, "link", side_effect=OSError(18, "Invalid cross-device link")):
        run.saved(20, 40)
    assert any("sealed, but not kept" in said for said in run.said)
    assert checkpoint_seal.read_manifest(run.place, 40)
    save(run.folder, 60, upto=5)
    assert run.start() == 40


def test_a_save_that_is_still_being_written_is_not_sealed(run: Run) -> None:
    save(run.folder, 20, upto=7)
    supervisor_guard.after_save({**run.spec, "save_timeout": 0.01}, 20, run.said.append)
    assert checkpoint_seal.read_manifest(run.place, 20) is None
    assert run.said[-1].startswith("step 20 was not sealed: optimizer.00001-of-00002.pt is missing")


def test_a_save_is_sealed_only_once_its_files_rest(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files are there and whole, and the trainer still writes one of them."""
    save(run.folder, 20)
    path = run.folder / "0000020" / "scheduler.pt"
    writes = iter([1, 2, 3])

    class Time(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if (at := next(writes, None)) is not None:
                os.utime(path, ns=(at, at))
            return False

    monkeypatch.setattr(supervisor_guard, "_ended", Time())
    supervisor_guard.after_save(run.spec, 20, run.said.append)
    manifest = checkpoint_seal.read_manifest(run.place, 20)
    assert manifest is not None
    assert manifest["files"]["scheduler.pt"]["mtime"] == 3


def test_the_end_of_the_training_ends_the_wait(run: Run) -> None:
    supervisor_guard.close()
    supervisor_guard.after_save(run.spec, 20, run.said.append)
    assert run.said == ["step 20 was not sealed: the training ended first"]


@pytest.mark.parametrize(
    ("results", "checkpoints", "kept", "expected"),
    [
        pytest.param("/out/a", "/out/a/checkpoints", "", "/out/a/kept", id="in the results when the checkpoints are"),
        pytest.param("/out/a/", "/big/a/ckpt/", "", "/big/a/ckpt-kept", id="else beside the checkpoints"),
        pytest.param("/out/a", "/out/ab", "", "/out/ab-kept", id="a like name is not inside"),
        pytest.param("/out/a", "/out/a/checkpoints", "/x/kept/", "/x/kept", id="as the user says"),
    ],
)
def test_where_the_links_lie(results: str, checkpoints: str, kept: str, expected: str) -> None:
    assert checkpoint_seal.kept_dir_of(results, checkpoints, kept) == expected


@pytest.mark.parametrize("call", range(40))
def test_the_seal_killed_before_each_of_its_calls_loses_no_save(run: Run, call: int) -> None:
    run.saved(20, 40)
    save(run.folder, 60)
    with killed_before(call), suppress(Killed):
        supervisor_guard.after_save(run.spec, 60, run.said.append)
    assert run.whole()[-2:] == [40, 60]
    assert run.start() == 60
    assert checkpoint_seal.kept_steps(run.place)[-2:] == [40, 60]
    save(run.folder, 80, upto=3)
    assert run.start() == 60


def test_a_seal_that_was_cut_before_the_step_was_saved_anew_links_the_new_files(run: Run) -> None:
    save(run.folder, 20)
    with killed_before(15), suppress(Killed):  # some links are made
        supervisor_guard.after_save(run.spec, 20, run.said.append)
    half = set((run.root / "kept/.new-0000020").iterdir())
    assert 0 < len(half) < len(FILES)
    for name in FILES:
        (run.folder / "0000020" / name).unlink()
        (run.folder / "0000020" / name).write_bytes(saves.content(name, 21))
    supervisor_guard.after_save(run.spec, 20, run.said.append)
    links = run.root / "kept/0000020"
    assert all((links / name).read_bytes() == saves.content(name, 21) for name in FILES)
    assert len(list((run.root / "kept/aside").iterdir())) == len(half)


def test_two_partial_saves_of_one_step_lie_side_by_side(run: Run) -> None:
    run.saved(20)
    for stop in (3, 5):
        save(run.folder, 40, upto=stop)
        (run.folder / "best").mkdir()
        (run.folder / "best" / "n").write_text(str(stop))
        assert run.start() == 20
    assert sorted(path.name for path in (run.root / "kept/aside").iterdir()) == [
        "0000040-1", "0000040-2", "best-1", "best-2",
    ]  # fmt: skip


def test_a_rename_across_mounts_is_told_by_the_variable(run: Run) -> None:
    save(run.folder, 20, upto=5)
    with mock.patch.object(os, "replace", side_effect=OSError(18, "x")), pytest.raises(FleetError) as error:
        run.start()
    assert error.value.variable == "training_kept_dir"


@pytest.mark.parametrize(
    "files",
    [
        {"../../secret": {"size": 1, "mtime": 1, "mark": "x"}},
        {"/etc/shadow": {"size": 1, "mtime": 1, "mark": "x"}},
        {"notes.txt": {"size": 1, "mtime": 1, "mark": "x"}},
        {"scheduler.pt": {"size": "1", "mtime": 1, "mark": "x"}},
        {"scheduler.pt": {"size": 1, "mtime": 1}},
        {"scheduler.pt": 5},
        [],
    ],
    ids=str,
)
def test_a_manifest_names_files_of_a_save_alone(tmp_path: Path, files: object) -> None:
    """The account writes it, and root reads the files that it names when it looks at the checkpoints."""
    place = checkpoint_seal.Place(str(tmp_path / "checkpoints"), str(tmp_path))
    Path(place.manifest(20)).write_text(json.dumps({"step": 20, "files": files}))
    assert checkpoint_seal.read_manifest(place, 20) is None
    sound = {"step": 20, "files": {"scheduler.pt": {"size": 1, "mtime": 1, "mark": "x"}}}
    Path(place.manifest(20)).write_text(json.dumps(sound))
    assert checkpoint_seal.read_manifest(place, 20) == sound
