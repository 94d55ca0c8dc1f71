"""Whatever is cut, and whenever: a start resumes from the newest whole checkpoint, and nothing is deleted for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import examined
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import guard as checkpoint_guard
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import guard as supervisor_guard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support import saves
from tests.unit.support.guarded import EVERY, WRITES, Run, hurt, killed_before
from tests.unit.support.saves import FILES, STATE, Killed, save


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor_guard._ended.clear()
    monkeypatch.setattr(supervisor_guard, "REST", 0.0)
    monkeypatch.setattr(supervisor_guard, "_digest", lambda *_: None)  # a thread, which would be killed as well


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.parametrize("stop", range(WRITES))
def test_a_save_killed_before_any_write_loses_that_save_alone(run: Run, stop: int) -> None:
    run.saved(20, 40)
    assert not save(run.folder, 60, upto=stop)
    before = run.content()
    done = stop > 2 * len(FILES)  # the files are there, the deletion of older ones was going on
    assert run.start() == (60 if done else 40)
    assert before <= run.content()


@pytest.mark.parametrize("stop", range(WRITES - len(STATE)))
def test_the_very_first_save_killed_lets_the_run_begin_anew(run: Run, stop: int) -> None:
    save(run.folder, 20, upto=stop)
    before = run.content()
    assert run.start() is None
    assert before <= run.content()


@pytest.mark.parametrize("late", saves.OPTIMIZER)
def test_a_rank_that_is_late_with_its_optimizer_when_older_ones_are_deleted(run: Run, late: str) -> None:
    # The trainer deletes on rank 0 before the barrier: another rank may still be writing.
    run.saved(20, 40)
    save(run.folder, 60)
    (run.folder / "0000060" / late).write_bytes(b"")
    assert not list((run.folder / "0000040").glob("*.pt"))
    assert run.start() == 40


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "longer", "a folder", "ends kept, middle changed"])
def test_a_damaged_sealed_file_means_the_one_before(run: Run, name: str, damage: str) -> None:
    run.saved(20, 40, 60)
    path = run.folder / "0000060" / name
    hurt(path, damage)
    # A removed name still exists as a link; a change of the content affects both names.
    assert run.start() == (60 if damage in ("missing", "a folder") else 40)
    assert run.start() == (60 if damage in ("missing", "a folder") else 40)


def test_two_can_resume_after_every_save_and_while_one_is_written(run: Run) -> None:
    for step in range(20, 140, EVERY):
        for stop in range(WRITES):
            save(run.folder, step, upto=stop)
            assert len(run.whole()) >= min(2, step // EVERY - 1)
        run.saved(step)
        assert len(run.whole()) >= min(2, step // EVERY)


def test_two_failures_in_a_row_are_survived(run: Run) -> None:
    run.saved(20, 40, 60)
    hurt(run.folder / "0000060" / "scheduler.pt", "cut")
    save(run.folder, 80, upto=9)
    assert run.start() == 40


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_history_resumes_from_the_newest_whole_and_deletes_nothing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as root:
        run = Run(Path(root), keep_every=data.draw(st.sampled_from([0, 40])))
        step = 0
        for _ in range(data.draw(st.integers(1, 6), "events")):
            step = happens(data, run, step)
        before, whole = run.content(), run.whole()
        if data.draw(st.booleans(), "the guard is killed too"):
            with killed_before(data.draw(st.integers(0, 40), "before its call")), suppress(Killed, FleetError):
                run.start()
        try:
            resumed = run.start()
        except FleetError:
            assert not whole
            return
        assert resumed == max(whole, default=None)
        assert before <= run.content()
        assert run.start() == resumed


def happens(data: st.DataObject, run: Run, step: int) -> int:
    """One more thing in the life of a run; returns its newest step."""
    what = data.draw(st.sampled_from(["save", "unsealed save", "killed save", "damage", "foreign", "start"]))
    folders = sorted(path for path in run.folder.iterdir() if path.name.isdigit())
    if what.endswith("save"):
        step = max([step, *(int(path.name) for path in folders)]) + EVERY
        stop = data.draw(st.integers(0, WRITES)) if what == "killed save" else None
        if save(run.folder, step, data.draw(st.booleans(), "deletes older .pt"), stop) and what == "save":
            supervisor_guard.after_save(run.spec, step, run.said.append)
    elif what == "damage" and folders:
        files = sorted(path for path in data.draw(st.sampled_from(folders)).iterdir() if path.is_file())
        if files:
            path = data.draw(st.sampled_from(files))
            hurt(path, data.draw(st.sampled_from(["missing", "empty", "longer"])))
    elif what == "foreign":
        (run.folder / data.draw(st.sampled_from([".ipynb_checkpoints", "best", "0000020.bak"]))).mkdir(exist_ok=True)
    elif what == "start":
        try:
            return run.start() or 0
        except FleetError:
            assert not run.whole()
    return step


SCENES: dict[str, Callable[[Run], object]] = {
    "a partial save": lambda run: save(run.folder, 60, upto=7),
    "a partial save that deleted": lambda run: save(run.folder, 60, upto=17) or hurt(
        run.folder / "0000060" / "scheduler.pt", "cut"
    ),
    "an unsealed save": lambda run: save(run.folder, 60),
    "a sealed save that lost a file": lambda run: run.saved(60) and (run.folder / "0000060/scheduler.pt").unlink(),
    "a sealed save with a file for a link": lambda run: run.saved(60) and hurt(
        run.folder / "0000060/model.safetensors", "a folder"
    ),
    "foreign names": lambda run: [(run.folder / name).mkdir() for name in ("best", ".cache")],
}  # fmt: skip


@pytest.mark.parametrize("scene", SCENES)
def test_the_guard_killed_before_each_of_its_calls_comes_to_the_same_end(tmp_path: Path, scene: str) -> None:
    ends, calls = set(), 0
    for call in range(200):
        run = Run(tmp_path / str(call)).saved(20, 40)
        SCENES[scene](run)
        before, whole = run.content(), run.whole()
        with killed_before(call) as count:
            try:
                run.start()
            except Killed:
                calls = call + 1
        assert before <= run.content()
        assert run.start() == max(whole)
        assert before <= run.content()
        ends.add(tuple(sorted(str(p.relative_to(run.root)) for p in run.folder.rglob("*"))))
        if count[0] < call:
            break
    assert calls >= 2
    assert len(ends) == 1


def test_a_users_own_entry_is_moved_loudly_and_with_all_that_is_in_it(run: Run) -> None:
    run.saved(20)
    (run.folder / "best").mkdir()
    (run.folder / "best" / "notes.txt").write_text("mine")
    (run.folder / "a file.txt").write_text("harms nobody")
    assert run.start() == 20
    assert (run.root / "kept/aside/best-1/notes.txt").read_text() == "mine"
    assert (run.folder / "a file.txt").exists()
    assert any("best" in said and "numbers as names" in said for said in run.said)


OTHERS: dict[str, list[str]] = {
    "photos by year": ["2024/a.jpg", "2025/b.jpg"],
    "a home": ["Documents/letter.txt", ".ssh/id"],
    "a number among words": ["7/notes", "words/x"],
    "a folder of folders": ["0000040/0000020/model.safetensors"],
}
ITS_OWN: dict[str, list[str]] = {
    "a renamed save": ["best/model.safetensors"],
    "a save under way": ["0000020/model.safetensors.part"],
    "an empty stray": [".cache/"],
    "a person's note in a save": ["0000020/scheduler.pt", "0000020/eval.json"],
    "a stray beside a save": ["0000020/data_status.pt", "tensorboard/events"],
}


def lay(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).mkdir(exist_ok=True) if name.endswith("/") else (folder / name).write_text(name)


@pytest.mark.parametrize("names", OTHERS.values(), ids=OTHERS.keys())
def test_folders_that_are_no_checkpoints_are_moved_by_nobody(run: Run, names: list[str]) -> None:
    lay(run.folder, names)
    before = run.content()
    with pytest.raises(FleetError) as caught:
        supervisor_guard.before_start(run.spec, run.said.append)
    assert (caught.value.code, caught.value.variable) == ("CHECKPOINT_FOLDER_SHARED", "training_checkpoint_dir")
    assert run.content() == before
    place = supervisor_guard.place_of(run.spec)
    with pytest.raises(FleetError):
        checkpoint_guard.back_to(examined.look(place), place, 20)


@pytest.mark.parametrize("names", ITS_OWN.values(), ids=ITS_OWN.keys())
def test_what_can_be_a_checkpoint_or_lies_among_some_goes_out_of_the_way(run: Run, names: list[str]) -> None:
    lay(run.folder, names)
    before = run.content()
    supervisor_guard.before_start(run.spec, run.said.append)
    assert run.folder.exists() is False or not [path for path in run.folder.iterdir() if path.is_dir()]
    assert before <= run.content()


@pytest.mark.parametrize("where", ["is", "holds", "lies in", "by a link"])
def test_a_start_moves_nothing_where_another_variables_folder_is(run: Run, where: str) -> None:
    """A link may have been laid since the plan."""
    run.saved(20)
    save(run.folder, 40, upto=3)
    (run.root / "link").symlink_to(run.folder.parent)
    owned = {"is": run.folder, "holds": run.folder.parent, "lies in": run.folder / "x/y",
             "by a link": run.root / "link" / run.folder.name}[where]  # fmt: skip
    before = run.content()
    with pytest.raises(FleetError, match="share a folder") as caught:
        supervisor_guard.before_start({**run.spec, "owned": {"dataset_output_dir": str(owned)}}, run.said.append)
    assert "dataset_output_dir" in caught.value.found
    assert run.content() == before
    assert run.start() == 20


def test_a_users_file_in_a_damaged_folder_is_kept_with_it(run: Run) -> None:
    run.saved(20, 40)
    (run.folder / "0000040" / "eval.json").write_text("0.7")
    hurt(run.folder / "0000040" / "scheduler.pt", "a folder")
    assert run.start() == 40
    assert (run.root / "kept/aside/0000040-1/eval.json").read_text() == "0.7"


def test_other_shards_are_refused_before_anything_is_moved(run: Run) -> None:
    run.saved(20)
    save(run.folder, 40, upto=5)
    with pytest.raises(FleetError, match="number of shards") as error:
        supervisor_guard.before_start({**run.spec, "shards": 4}, run.said.append)
    assert error.value.found.endswith("0000020: 2 shards")
    assert (run.folder / "0000040").is_dir()


def test_models_alone_are_never_a_reason_to_begin_anew(run: Run) -> None:
    save(run.folder, 20)
    save(run.folder, 40)
    (run.folder / "0000040" / "scheduler.pt").unlink()
    with pytest.raises(FleetError, match="lose more than one save"):
        run.start()
    assert {path.name for path in run.folder.iterdir()} == {"0000020", "0000040"}


def test_a_folder_that_a_person_removed_stays_removed(run: Run) -> None:
    run.saved(20, 40)
    for path in (run.folder / "0000040").iterdir():
        path.unlink()
    (run.folder / "0000040").rmdir()
    assert run.start() == 20
    run.saved(40)
    assert run.start() == 40


def test_without_auto_resume_nothing_is_touched(tmp_path: Path) -> None:
    run = Run(tmp_path, auto_resume=False)
    save(run.folder, 20, upto=4)
    (run.folder / "best").mkdir()
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    supervisor_guard.before_start(run.spec, run.said.append)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_decide_is_about_what_was_seen_alone(run: Run) -> None:
    run.saved(20, 40)
    save(run.folder, 60, upto=6)
    decision = checkpoint_guard.decide(examined.look(run.place), run.place)
    assert decision.target is not None
    assert [(move.do, os.path.basename(move.path)) for move in decision.moves] == [("quarantine", "0000060")]
