"""A host that all roles worked on, taken back: what was ours goes, what a person could miss stays until it is named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import models as merged_models
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import apply as code_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import git as git_folder
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import patched
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import patching as code_patches
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import record as code_record
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import absent as conda_absent
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import record as dataset_record
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import observe as weights
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import record as weights_record
from ansible_collections.canvas.fleet.plugins.module_utils.system import digests, files, folders, managed_files
from ansible_collections.canvas.fleet.plugins.module_utils.teardown import apply as teardown

from tests.unit.support import canvas_repo, saves
from tests.unit.support.provisioned import EVERYTHING, Host, kept
from tests.unit.work.test_runner import FakeUnits


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_what_can_be_made_again_goes_and_what_is_dear_stays(host: Host) -> None:
    report = host.teardown()
    assert kept(report) == {
        "train.parquet": "data", "ema.safetensors": "weights", "config.json": "", "0000020": "checkpoints",
        "log.txt": "checkpoints",
    }  # fmt: skip
    left = [name for name in host.files() if "checkpoints/0000020" not in name]
    assert left == [
        "BlockMovingSFT/data/output/train.parquet",
        "models/BAGEL-7B-MoT/config.json",
        "models/BAGEL-7B-MoT/ema.safetensors",
        "outputs/atlas/log.txt",
    ]
    assert saves.resumes_from(Path(host.settings["training_checkpoint_dir"])) == 20
    assert os.listdir(host.root / "certificates") == ["of-the-company.crt"]
    assert (host.root / "refreshed").exists()
    assert not (host.fleet / "MathCanvas").exists()
    assert sum(part["bytes"] for part in report["removed"]) > 1000


def test_an_empty_checkpoint_of_a_second_node_stays_with_the_others(host: Host) -> None:
    empty = Path(host.settings["training_checkpoint_dir"]) / "0000040"
    empty.mkdir()
    host.teardown()
    assert empty.is_dir()
    host.teardown("checkpoints")
    assert not (host.fleet / "outputs").exists()


def test_merged_models_are_results_and_what_lies_beside_them_is_not(host: Host) -> None:
    models = Path(host.settings["training_results_dir"]) / "models"
    made = merged_models.Made(20, 4, 8.0, "all", "", "", 2, 0, 0.0, 1, 1)
    files.save(host.write(models / "0000020/ema.safetensors", "merged").parent / "MERGED.json", wire.to_dict(made))
    host.write(models / ".new-0000040/ema.safetensors.part", "cut")
    host.write(models / "mine/ema.safetensors", "mine")
    host.teardown()
    assert (models / "0000020/ema.safetensors").is_file()
    host.teardown("checkpoints")
    assert sorted(os.listdir(models)) == ["mine"]


def test_the_second_one_changes_nothing_and_can_still_be_told_more(host: Host) -> None:
    host.teardown()
    before = host.tree()
    again = host.teardown()
    assert (again["changed"], again["removed"], host.tree()) == (False, [], before)
    host.teardown("weights", "data")
    assert [name for name in host.files() if "outputs" not in name] == ["models/BAGEL-7B-MoT/config.json"]


def test_all_words_leave_what_was_there_before(host: Host) -> None:
    report = host.teardown(*EVERYTHING)
    assert kept(report) == {"config.json": ""}
    assert host.files() == ["models/BAGEL-7B-MoT/config.json"]
    (host.fleet / "models/BAGEL-7B-MoT/config.json").unlink()
    host.teardown(*EVERYTHING)
    assert not (host.root / "state").exists()


def test_a_dry_run_tells_the_same_and_takes_nothing(host: Host) -> None:
    before = host.tree()
    told = host.teardown("weights", check=True)
    assert host.tree() == before
    done = host.teardown("weights")
    assert told["kept"] == done["kept"]
    assert [part["path"] for part in told["removed"]] == [part["path"] for part in done["removed"]]


def test_nothing_that_a_person_laid_there_ever_goes(host: Host) -> None:
    theirs = [
        host.write(host.fleet / "notes.txt", "mine"),
        host.write(host.fleet / "BlockMovingSFT/scripts/own.sh", "mine"),
        host.write(host.fleet / "models/BAGEL-7B-MoT/README.md", "mine"),
        host.write(host.fleet / "outputs/other/checkpoints/0000005/model.safetensors", "mine"),
    ]
    before = [path.read_bytes() for path in theirs]
    report = host.teardown(*EVERYTHING)
    assert [path.read_bytes() for path in theirs] == before
    foreign_files = next(part for part in report["kept"] if part["why"] == "foreign files")
    assert all(str(path) in foreign_files["path"] for path in theirs)
    assert foreign_files["also"] == ""


EDITS: dict[str, Callable[[Host], Path]] = {
    "a changed file of the code": lambda host: host.write(canvas_repo.checkout(host.root) / canvas_repo.TRAINER, "x"),
    "a new file in the code": lambda host: host.write(canvas_repo.checkout(host.root) / "notes.txt", "x"),
    "an ignored file in the code": lambda host: host.write(
        canvas_repo.checkout(host.root) / "BAGEL-Canvas/results/0000010/model.safetensors", "x"
    ),
    "a changed script": lambda host: host.write(Path(host.settings["run_config_script"]), "x"),
    "a changed training copy": lambda host: host.write(Path(host.settings["dataset_train_file"]), "x"),
    "a changed model": lambda host: host.write(Path(host.settings["weights_dir"]) / "ema.safetensors", "mine"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_edits_stay_until_they_are_named(host: Host, edit: Callable[[Host], Path]) -> None:
    path = edit(host)
    text = path.read_bytes()
    report = host.teardown("checkpoints", "data", "weights", "nvidia")
    assert "edits" in {part["also"] for part in report["kept"]}
    assert path.read_bytes() == text
    host.teardown(*EVERYTHING)
    assert not path.exists()


def test_code_that_stays_is_as_its_commit_has_it(host: Host) -> None:
    checkout = canvas_repo.checkout(host.root)
    host.write(checkout / "notes.txt", "x")
    assert canvas_repo.git(checkout, "status", "--porcelain") != "?? notes.txt"
    host.teardown()
    assert canvas_repo.git(checkout, "status", "--porcelain") == "?? notes.txt"


def test_patches_of_the_profile_are_taken_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(patched, "observe", lambda settings: patched.Code({}, ("train/a.py",)))
    monkeypatch.setattr(code_patches, "take_back", lambda settings: calls.append("back"))
    assert any("patches in train/a.py" in part["path"] for part in host.teardown(check=True)["removed"])
    assert calls == []
    host.teardown()
    assert calls == ["back"]


@pytest.mark.parametrize("flaw", ["a change that was cut off", "an answer that git did not give"])
def test_code_whose_edits_cannot_be_told_stays(host: Host, flaw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan leaves such edits out, so that here they would look like none."""
    checkout = canvas_repo.checkout(host.root)
    theirs = host.write(checkout / canvas_repo.TRAINER, "mine")
    if flaw == "a change that was cut off":
        code_apply._note(host.settings, host.upstream.two, pending=host.upstream.three)
    else:
        monkeypatch.setattr(git_folder, "edits", raising)
    report = host.teardown("checkpoints", "data", "weights")
    assert "are unknown" in next(part["why"] for part in report["kept"] if part["path"] == str(checkout))
    assert theirs.read_text() == "mine"


def raising(*_: object) -> list[str]:
    raise FleetError("git status failed")


def test_records_in_a_folder_of_others_leave_theirs(host: Host) -> None:
    theirs = [host.write(host.root / f"state/{name}/x", "x") for name in ("apt", "agent.d-of-another", "work.old")]
    (host.fleet / "lost+found").mkdir()
    host.teardown(*EVERYTHING)
    assert all(path.exists() for path in theirs)
    assert (host.fleet / "lost+found").exists()


def test_a_folder_beside_the_agent_that_it_does_not_lead_to_stays(host: Host) -> None:
    link = host.root / "state/agent"
    link.unlink()
    link.symlink_to(host.write(host.root / "elsewhere/bin/python", "x").parent)
    host.teardown(*EVERYTHING)
    assert (host.root / "state/agent.d/one").exists()


def test_a_branch_and_another_commit_are_a_persons_work(host: Host) -> None:
    checkout = canvas_repo.checkout(host.root)

    def why() -> str:
        return str(next(part["why"] for part in host.teardown(check=True)["kept"] if part["path"] == str(checkout)))

    canvas_repo.git(checkout, "commit", "-q", "--allow-empty", "-m", "mine")
    assert "another commit" in why()
    canvas_repo.git(checkout, "branch", "mine")
    assert "branches" in why()


def test_a_checkout_that_a_person_made_is_left_alone(host: Host) -> None:
    checkout = canvas_repo.checkout(host.root)
    Path(code_record.path(host.settings, "git")).unlink()
    host.teardown(*EVERYTHING)
    assert (checkout / canvas_repo.TRAINER).exists()


def test_python_made_anew_is_no_edit(host: Host) -> None:
    host.write(canvas_repo.checkout(host.root) / "BAGEL-Canvas/data/__pycache__/a.cpython-310.pyc", "x")
    host.teardown()
    assert not canvas_repo.checkout(host.root).exists()


@pytest.mark.parametrize("cut", range(12))
def test_cut_anywhere_the_next_one_ends_it(host: Host, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter(range(100))
    remove = folders.remove_tree

    def dying(path: str) -> None:
        if next(count) == cut:
            raise saves.Killed
        remove(path)

    monkeypatch.setattr(folders, "remove_tree", dying)
    with pytest.raises(saves.Killed):
        host.teardown(*EVERYTHING)
    host.teardown(*EVERYTHING)
    assert host.files() == ["models/BAGEL-7B-MoT/config.json"]
    assert not (host.root / "state/agent").exists()


def test_records_of_a_training_by_another_name_stay(host: Host) -> None:
    other = host.write(host.root / "state/training/canvas-training-other/own/state.json", "{}")
    host.teardown(*EVERYTHING)
    assert other.exists()


def test_conda_and_driver_are_asked_to_go_first(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert teardown.roles_before(host.settings) == []
    monkeypatch.setattr(conda_absent, "preview", lambda spec: ["remove it"])
    host.write(host.root / "state/nvidia.json", "{}")
    assert teardown.roles_before(host.settings) == ["conda_env"]
    assert teardown.roles_before({**host.settings, "fleet_teardown_include": ["nvidia"]}) == ["conda_env", "nvidia"]
    host.teardown()
    assert (host.root / "state/nvidia.json").exists(), "the record of what is still installed"


def test_a_marker_that_was_broken_by_hand_is_told(host: Host) -> None:
    path = canvas_repo.checkout(host.root) / canvas_repo.INFO
    path.write_bytes(path.read_bytes().replace(b"# canvas-fleet end", b"# gone"))
    report = host.teardown()
    assert any("marker" in part["why"] for part in report["kept"])
    assert path.exists()


def test_a_kept_folder_that_is_shared_keeps_what_is_not_ours(host: Host) -> None:
    shared = host.root / "shared"
    host.settings["training_kept_dir"] = str(shared)
    theirs = host.write(shared / "results.csv", "x")
    for name in (
        "0000020/model.safetensors",
        "0000020.json",
        "aside/0000040/model.safetensors",
        "attempt",
        "attempt-2",
        "attempt-13.new",
        ".old-0000000/x",
    ):
        host.write(shared / name, "x")
    host.teardown("checkpoints")
    assert list(shared.iterdir()) == [theirs]


def test_results_in_a_home_take_no_caches_of_others_along(host: Host) -> None:
    home = host.root / "home-of-a-person"
    host.settings["training_results_dir"] = str(home)
    theirs = [host.write(home / ".cache/x", "x"), host.write(home / "wandb/run/x", "x")]
    host.teardown(*EVERYTHING)
    assert all(path.exists() for path in theirs)


def test_a_bare_host_has_nothing_to_take(host: Host) -> None:
    shutil.rmtree(host.fleet)
    shutil.rmtree(host.root / "state")
    (host.root / "certificates/canvas-fleet-1.crt").unlink()
    assert host.teardown(*EVERYTHING)["changed"] is False


def test_a_work_that_still_runs_is_stopped(host: Host) -> None:
    units = FakeUnits()
    teardown.work(host.settings, units, check=False)
    assert units.stopped == 1
    assert managed_files.read(str(host.root / "state/work/weights/spec.json")) is None


@pytest.mark.parametrize("path", ["{root}/precious", "{data}/../../precious", "{data}/link"])
def test_what_the_account_wrote_into_a_record_is_not_removed(host: Host, path: str) -> None:
    """The dataset's and the weights' work run as the account, so their records are its to write."""
    precious = host.write(host.root / "precious", "precious")
    data = Path(host.settings["dataset_output_dir"])
    (data / "link").symlink_to(precious)
    named = path.format(root=host.root, data=data)
    record = dataset_record.layout(host.settings).record_path
    known = files.load(record)
    known["owned"][named] = [digests.sha256(b"precious")]
    dataset_record.save(record, known)
    of_weights = weights_record.path(host.settings)
    entries = json.loads(of_weights.read_text())
    entries["files"][named] = {**(weights.stamp(precious) or {}), "origin": "fetched"}
    of_weights.write_text(json.dumps(entries))
    host.teardown(*EVERYTHING)
    assert precious.read_text() == "precious"
    assert (data / "link").is_symlink()
