import json
import os
import shutil
import subprocess

import pyarrow.parquet as pq
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import decide as dataset_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import observe as dataset
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import work as dataset_work

from demo.puzzles.generate import write_dataset
from tests.unit.support.dataset_files import copy_originals, loaded, parsed, row, settings, topology, write


class CutError(BaseException):
    """The machine goes down here."""


def quiet(done, total, unit, what):
    pass


def tree(folder):
    """Content of each file by its path, less the record (it holds times)."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "record.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path):
    """A folder on the controller as the guide describes it."""
    folder = tmp_path / "controller"
    write(folder / "train_split.parquet", [row(n) for n in range(11)])
    write(folder / "test_split.parquet", [row(n) for n in range(50, 53)])
    return folder


@pytest.fixture
def wanted(tmp_path, source):
    told = settings(tmp_path / "host", source / "train_split.parquet", source / "test_split.parquet")
    copy_originals(told)
    return told


def whole_role(told):
    copy_originals(told)
    dataset_work.work(told, quiet)


def cut_work(told, monkeypatch, at):
    with monkeypatch.context() as patch:
        cuts(patch, at)
        dataset_work.work(told, quiet)


def in_sync(wanted):
    run = topology(wanted["world_size"], wanted["num_workers"])
    return dataset_plan.decide(dataset.observe(wanted), wanted, run)


def test_the_demos_puzzles_become_loadable_for_every_worker(tmp_path):
    write_dataset(tmp_path / "controller", rows_train=37, rows_test=5)
    told = settings(
        tmp_path / "host",
        tmp_path / "controller" / "train_split.parquet",
        tmp_path / "controller" / "test_split.parquet",
        world_size=2,
        num_workers=3,
    )
    copy_originals(told)
    result = dataset_work.work(told, quiet)
    info = json.loads((tmp_path / "host/train/train_split_info.json").read_text())
    file = pq.ParquetFile(told["dataset_train_file"])
    assert info == {told["dataset_train_file"]: {"num_row_groups": 6, "num_rows": 37}}
    shares = loaded(file.metadata.num_row_groups, 2, 3)
    rows = [
        values for share in shares for group in share for _, values in file.read_row_group(group).to_pandas().iterrows()
    ]
    assert sorted(values["task_id"] for values in rows) == sorted(file.read()["task_id"].to_pylist())
    assert len(rows) == result["rows"] == 37
    assert all(parsed(values) >= 3 for values in rows)


def test_the_originals_stay_as_they_came_and_train_and_test_lie_apart(tmp_path, source, wanted):
    dataset_work.work(wanted, quiet)
    for name in ("train_split.parquet", "test_split.parquet"):
        assert (tmp_path / "host/data/output" / name).read_bytes() == (source / name).read_bytes()
    assert os.listdir(tmp_path / "host/train") in (
        ["train_split.parquet", "train_split_info.json"],
        ["train_split_info.json", "train_split.parquet"],
    )


def test_a_second_run_changes_nothing_and_the_room_is_in_sync(tmp_path, wanted):
    assert dataset_work.work(wanted, quiet)["changed"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "host").rglob("*")}
    assert not dataset_work.work(wanted, quiet)["changed"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "host").rglob("*")} == before
    assert in_sync(wanted).reasons == ()
    assert in_sync(wanted).summary == "11 rows in 4 row groups"


def test_what_would_exchange_the_file_that_a_loader_reads(wanted):
    assert in_sync(wanted).values["exchanged"] == "", "there is none to be exchanged yet"
    dataset_work.work(wanted, quiet)
    assert in_sync(wanted).values["exchanged"] == ""
    assert "another number of workers" in in_sync({**wanted, "num_workers": 3}).values["exchanged"]
    other = {**wanted, "dataset_train_sha256": "a" * 64}
    assert in_sync(other).values["exchanged"] == "the train file is another one"
    os.unlink(wanted["dataset_train_file"])
    assert in_sync(wanted).values["exchanged"] == "", "nothing is in the place of a file that is gone"


def test_progress_counts_rows_of_both_passes(wanted):
    told = []
    dataset_work.work(wanted, lambda *progress: told.append(progress))
    assert (11, 11, "rows", "checking train_split.parquet") in told
    assert (11, 11, "rows", "writing train_split.parquet") in told


@pytest.mark.parametrize(
    ("change", "groups"),
    [
        pytest.param({"world_size": 4}, 8, id="more ranks"),
        pytest.param({"num_workers": 0}, 2, id="no workers count as one"),
        pytest.param({"dataset_reshard": False, "world_size": 1, "num_workers": 1}, 1, id="the own row groups"),
    ],
)
def test_another_shape_makes_another_copy_without_looking_at_the_rows_again(wanted, change, groups):
    dataset_work.work(wanted, quiet)
    changed = {**wanted, **change}
    assert in_sync(changed).reasons
    told = []
    result = dataset_work.work(changed, lambda *progress: told.append(progress[3]))
    assert (result["changed"], result["row_groups"]) == (True, groups)
    assert set(told) == {"writing train_split.parquet"}
    assert pq.ParquetFile(wanted["dataset_train_file"]).metadata.num_row_groups == groups
    assert in_sync(changed).reasons == ()


def test_new_data_replaces_what_the_room_put_there(source, wanted):
    dataset_work.work(wanted, quiet)
    write(source / "train_split.parquet", [row(n) for n in range(20)])
    copy_originals(wanted)
    assert dataset_work.work(wanted, quiet)["rows"] == 20
    assert in_sync(wanted).reasons == ()


def test_bad_rows_are_refused_and_nothing_is_written(tmp_path, source):
    write(source / "train_split.parquet", [row(n, **({"answer": ""} if n in (2, 5) else {})) for n in range(9)])
    told = settings(tmp_path / "host", source / "train_split.parquet")
    copy_originals(told)
    with pytest.raises(FleetError) as error:
        dataset_work.work(told, quiet)
    assert error.value.code == "DATASET_ROWS_BAD"
    assert "2 of 9 rows (counted from 0); 2 × answer is empty (rows 2, 5)" in error.value.found
    assert os.listdir(tmp_path / "host/train") == []


def test_bad_rows_are_left_out_on_purpose(tmp_path, source):
    write(source / "train_split.parquet", [row(n, **({"answer": ""} if n in (2, 5) else {})) for n in range(9)])
    told = settings(tmp_path / "host", source / "train_split.parquet", dataset_drop_bad_rows=True)
    copy_originals(told)
    result = dataset_work.work(told, quiet)
    assert (result["rows"], result["dropped"]) == (7, [2, 5])
    assert pq.read_table(told["dataset_train_file"])["task_id"].to_pylist() == [0, 1, 3, 4, 6, 7, 8]
    assert [found.code for found in in_sync(told).findings] == ["DATASET_ROWS_DROPPED"]


@pytest.mark.parametrize(
    ("place", "variable"),
    [
        pytest.param("data/output/train_split.parquet", "dataset_train", id="an original"),
        pytest.param("train/train_split.parquet", "dataset_train_file", id="the training copy"),
        pytest.param("train/another.parquet", "dataset_train_dir", id="another parquet beside the copy"),
        pytest.param("train", "dataset_train_dir", id="a file where the training folder must be"),
        pytest.param("data/output", "dataset_output_dir", id="a file where the originals' folder must be"),
    ],
)
def test_a_file_of_the_user_is_never_overwritten(tmp_path, source, place, variable):
    mine = tmp_path / "host" / place
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"made by hand")
    told = settings(tmp_path / "host", source / "train_split.parquet", source / "test_split.parquet")
    with pytest.raises(FleetError) as error:
        whole_role(told)
    assert error.value.variable == variable
    assert str(mine) in str(error.value) or mine.name in str(error.value)
    assert mine.read_bytes() == b"made by hand"


def test_a_copy_that_was_edited_by_hand_is_kept(wanted):
    dataset_work.work(wanted, quiet)
    shutil.copy(wanted["dataset_test"], wanted["dataset_train_file"])
    assert "the training copy was changed on the host" in in_sync(wanted).reasons
    with pytest.raises(FleetError, match="DATASET_FILE_FOREIGN"):
        dataset_work.work(wanted, quiet)


def test_the_same_file_laid_there_by_hand_is_adopted(tmp_path, source):
    output = tmp_path / "host/data/output"
    output.mkdir(parents=True)
    shutil.copy(source / "train_split.parquet", output)
    told = settings(tmp_path / "host", source / "train_split.parquet")
    assert any("will be compared" in reason for reason in in_sync(told).reasons)
    copy_originals(told)
    dataset_work.work(told, quiet)
    assert in_sync(told).reasons == ()


def test_an_info_file_made_by_hand_is_moved_aside(tmp_path, wanted):
    info = tmp_path / "host/train/train_split_info.json"
    info.write_text('{"/home/me/train_split.parquet": {"num_row_groups": 1, "num_rows": 613}}')
    dataset_work.work(wanted, quiet)
    assert "/home/me" in info.with_name(info.name + ".before-canvas-fleet").read_text()
    assert str(tmp_path) in info.read_text()


def test_a_touched_but_equal_copy_is_only_recorded_again(wanted):
    dataset_work.work(wanted, quiet)
    os.utime(wanted["dataset_train_file"])
    assert in_sync(wanted).reasons
    assert not dataset_work.work(wanted, quiet)["changed"]
    assert in_sync(wanted).reasons == ()


def test_a_disk_that_is_full_is_told_with_the_path(wanted, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device", wanted["dataset_train_file"])

    monkeypatch.setattr(dataset_work, "write_copy", full)
    with pytest.raises(FleetError, match="No space left on device"):
        dataset_work.work(wanted, quiet)


def git(folder, *argv):
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *names, *argv], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def from_git(tmp_path, source):
    git(source, "init", "--quiet")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "-m", "data")
    (tmp_path / "host/state/dataset").mkdir(parents=True)
    for folder in ("data/output", "train"):
        (tmp_path / "host" / folder).mkdir(parents=True)
    commit = git(source, "rev-parse", "HEAD")
    told = {"dataset_source": "git", "dataset_repo": f"file://{source}", "dataset_commit": commit}
    return settings(tmp_path / "host", "train_split.parquet", "test_split.parquet", **told)


def test_a_repository_is_a_source_and_leaves_no_clone_behind(tmp_path, from_git):
    assert dataset_work.work(from_git, quiet)["rows"] == 11
    assert not dataset_work.work(from_git, quiet)["changed"]
    assert in_sync(from_git).reasons == ()
    assert os.listdir(tmp_path / "host/state/dataset") == ["record.json"]


def test_a_wrong_digest_leaves_the_good_file_in_place(tmp_path, from_git):
    dataset_work.work(from_git, quiet)
    before = tree(tmp_path / "host")
    with pytest.raises(FleetError, match="DATASET_DIGEST_WRONG") as error:
        dataset_work.work({**from_git, "dataset_train_sha256": "0" * 64}, quiet)
    assert error.value.variable == "dataset_train_sha256"
    shutil.rmtree(tmp_path / "host/state/dataset/repository.git")
    assert tree(tmp_path / "host") == before


def cuts(monkeypatch, at):
    """Every rename and flush counts; the one with number `at` is the last that happens. Returns the counter."""
    count = [0]
    for name in ("replace", "fsync"):
        real = getattr(os, name)

        def counted(*args, real=real, **named):
            real(*args, **named)
            count[0] += 1
            if count[0] == at:
                raise CutError

        monkeypatch.setattr(os, name, counted)
    return count


@pytest.mark.parametrize("kind", ["first", "reshaped"])
def test_a_cut_anywhere_then_a_second_run_converges(tmp_path, from_git, monkeypatch, kind):
    host, final = tmp_path / "host", {**from_git, "world_size": 3}
    if kind == "reshaped":
        dataset_work.work(from_git, quiet)
    shutil.copytree(host, tmp_path / "begin")
    with monkeypatch.context() as patch:
        steps = cuts(patch, 0)
        dataset_work.work(final, quiet)
    whole = tree(host)
    assert steps[0] > 5
    for at in range(1, steps[0] + 1):
        shutil.rmtree(host)
        shutil.copytree(tmp_path / "begin", host, copy_function=shutil.copy2)
        with pytest.raises(CutError):
            cut_work(final, monkeypatch, at)
        dataset_work.work(final, quiet)
        assert tree(host) == whole, f"cut after step {at} of {steps[0]}"
        assert in_sync(final).reasons == ()


@pytest.mark.parametrize("at", range(1, 9))
def test_killed_while_it_reads_or_writes_then_a_second_run_converges(tmp_path, from_git, at):
    calls = []

    def killed(*progress):
        calls.append(progress)
        if len(calls) == at:
            raise CutError

    with pytest.raises(CutError):
        dataset_work.work(from_git, killed)
    dataset_work.work(from_git, quiet)
    assert in_sync(from_git).reasons == ()
    assert sorted(tree(tmp_path / "host")) == [
        "data/output/test_split.parquet",
        "data/output/train_split.parquet",
        "train/train_split.parquet",
        "train/train_split_info.json",
    ]
