"""Records of works that run as the account: what root believes of them, and what it does not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import record as dataset
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import decide as weights_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import observe as weights
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import record as weights_record
from ansible_collections.canvas.fleet.plugins.module_utils.system.ownership import Owner
from ansible_collections.canvas.fleet.plugins.module_utils.work import records

from tests.unit.support.accounts import GID, UID, account_folder, give, plant

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders to an account")
ENTRY = {"size": 3, "mtime_ns": 1, "inode": 1 << 63, "sha256": "ab", "origin": "fetched", "revision": "c"}


def spec(tmp_path: Path) -> dict[str, Any]:
    names = ("weights_dir", "dataset_output_dir", "dataset_train_dir")
    return {
        "fleet_state_dir": str(tmp_path / "state"),
        **{name: str(tmp_path / name) for name in names},
        "dataset_train_file": str(tmp_path / "dataset_train_dir/t.parquet"),
        "dataset_info_path": str(tmp_path / "dataset_train_dir/info.json"),
        "prefix": str(tmp_path / "envs/e"),
        "weights_files": ["a"],
        "weights_repo": "o/n",
        "weights_revision": "c" * 40,
        "weights_sha256": {},
        "weights_parameters": 0,
        "weights_bytes": 1,
    }


def told(worker: str, tmp_path: Path, record: Any) -> Path:
    """The account's record of this worker; returns its folder."""
    own = tmp_path / "own"
    path = records.KEPT[worker].path({**spec(tmp_path), "fleet_state_dir": str(own)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    return own


def taken(worker: str, tmp_path: Path) -> dict[str, Any]:
    path = records.KEPT[worker].path(spec(tmp_path))
    return dict(json.loads(path.read_text())) if path.exists() else {}


def test_root_takes_of_the_weights_what_lies_below_the_model_folder(tmp_path: Path) -> None:
    names = ["a", "deep/b", "../c", "/etc/shadow", "x/../../d", "e\0"]
    own = told("weights", tmp_path, {"dir": "/", "repo": "o/n", "files": dict.fromkeys(names, ENTRY), "evil": 1})
    records.take("weights", spec(tmp_path), own)
    found = taken("weights", tmp_path)
    assert sorted(found["files"]) == ["a", "deep/b"]
    assert "evil" not in found
    assert found["files"]["a"]["inode"] == 1 << 63, "inodes have 64 bits"


def test_root_takes_of_the_data_what_lies_where_data_lies(tmp_path: Path) -> None:
    good = [f"{tmp_path}/dataset_output_dir/a.parquet", f"{tmp_path}/dataset_train_dir/t.parquet"]
    bad = ["/etc/shadow", f"{tmp_path}/dataset_output_dir/../x", f"{tmp_path}/dataset_output_dir/..", "a.parquet"]
    record = {
        "owned": {name: ["d"] for name in (*good, *bad)},
        "originals": {"train": {"path": good[0], "sha256": "d"}, "test": {"path": bad[0]}},
        "copy": {"path": bad[1]},
    }
    records.take("dataset", spec(tmp_path), told("dataset", tmp_path, record))
    found = taken("dataset", tmp_path)
    assert sorted(found["owned"]) == sorted(good)
    assert list(found["originals"]) == ["train"]
    assert "copy" not in found


@pytest.mark.parametrize("worker", ["weights", "dataset"])
@pytest.mark.parametrize(
    "record",
    ["", "[", "[]", "{}", '{"files": 5, "owned": 5, "originals": [], "copy": 1}', '{"a":' * 9999, "9" * 5000,
     '{"files": {"a": {"size": "x"}}, "owned": {"/a": 1}}'],
    ids=lambda text: text[:24],
)  # fmt: skip
def test_a_record_of_no_sense_changes_nothing_that_root_believes(tmp_path: Path, worker: str, record: str) -> None:
    sound = {"weights": {"files": {"a": ENTRY}}, "dataset": {"originals": {}, "owned": {}}}[worker]
    records.take(worker, spec(tmp_path), told(worker, tmp_path, sound))
    before = taken(worker, tmp_path)
    records.take(worker, spec(tmp_path), told(worker, tmp_path, record))
    after = taken(worker, tmp_path)
    assert after == before or not (set(after) - {"by"})
    assert weights_record.read(spec(tmp_path)) is not None
    assert dataset.read(spec(tmp_path)) is not None


@pytest.mark.parametrize(
    ("record", "parts"),
    [
        (
            {"digest": "d", "versions": {"torch": "2"}, "torch": {"cuda": "12"}, "evil": 1},
            ["digest", "torch", "versions"],
        ),
        ({"digest": 5}, []),
        ({"digest": "d", "versions": ["torch"]}, []),
        ({"digest": "d", "torch": {"cuda": {"deep": []}}}, []),
        ([], []),
    ],
)
def test_root_takes_of_an_adopted_environment_what_is_declared(tmp_path: Path, record: Any, parts: list[str]) -> None:
    records.take("conda_env", spec(tmp_path), told("conda_env", tmp_path, record))
    assert sorted(taken("conda_env", tmp_path)) == parts


def test_the_spec_of_an_older_version_is_no_obstacle(tmp_path: Path) -> None:
    records.take("conda_env", {"prefix": "/srv/envs/e"}, tmp_path / "own")


@root
@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_link_of_the_account_gives_root_nothing(tmp_path: Path, where: str) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    name = weights_record.path(spec(tmp_path)).name
    (precious / name).write_text(json.dumps({"files": {"a": ENTRY}}))
    precious.chmod(0o700)
    own = account_folder(tmp_path)
    if where == "folder":
        plant(own / "weights", precious)
    else:
        give(own / "weights") if (own / "weights").mkdir() is None else None
        plant(own / "weights" / name, precious / name)
    records.take("weights", spec(tmp_path), own)
    assert taken("weights", tmp_path) == {}


@root
def test_the_folder_of_version_0_1_becomes_roots_once_and_nothing_is_hashed_again(tmp_path: Path) -> None:
    told_once, state = spec(tmp_path), tmp_path / "state"
    account_folder(tmp_path)  # makes the way there passable
    Path(told_once["weights_dir"]).mkdir()
    (Path(told_once["weights_dir"]) / "a").write_text("abc")
    stamp = weights.stamp(Path(told_once["weights_dir"]) / "a")
    old = weights_record.path(told_once)
    old.parent.mkdir(parents=True)
    whole = {"repo": "o/n", "revision": "c" * 40, "files": {"a": {**ENTRY, **(stamp or {})}}}
    old.write_text(json.dumps(whole))
    give(old), give(old.parent)
    state.chmod(0o755)
    seen = weights.observe(told_once)
    assert (seen.former, seen.files["a"].state) == (True, "verified"), "read with care until it is mended"
    assert any("the account can write" in one for one in weights_plan.decide(seen, told_once, None).reasons)

    own = give(tmp_path / "own") if (tmp_path / "own").mkdir() is None else Path()
    records.hand_over("weights", told_once, own, Owner(UID, GID))
    assert (state / "weights").stat().st_uid == 0
    assert list((state / "weights").iterdir()) == []
    hint = weights_record.path({**told_once, "fleet_state_dir": str(own)})
    assert (hint.stat().st_uid, json.loads(hint.read_text())) == (UID, whole)
    its_own = weights_plan.decide(weights.observe({**told_once, "fleet_state_dir": str(own)}), told_once, None)
    assert its_own.reasons == ("the account can write its record",), "it is, and nothing is to be fetched"
    records.take("weights", told_once, own)
    seen = weights.observe(told_once)
    assert (seen.former, seen.files["a"].state) == (False, "verified")
    records.hand_over("weights", told_once, own, Owner(UID, GID))
    assert weights.observe(told_once) == seen
