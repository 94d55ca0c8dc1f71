"""What is said of a model folder from its record alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import decide as weights_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import observe as weights
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import record as weights_record
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights.observe import File, Observation

SHAPE = Topology("r", ("a",), 0, 1, 1, "localhost", 29501)
COMMIT, OTHER = "5" * 40, "6" * 40
SETTINGS: dict[str, Any] = {
    "fleet_state_dir": "/var/lib/canvas-fleet",
    "weights_dir": "/srv/models/bagel",
    "weights_repo": "org/model",
    "weights_revision": COMMIT,
    "weights_files": ["a.safetensors", "b.json"],
    "weights_sha256": {},
}


def file(state: Literal["absent", "unverified", "verified"] = "verified") -> File:
    return File(state, 10, "a" * 64 if state == "verified" else "")


SEEN = Observation(
    kind="folder",
    repo="org/model",
    revision=COMMIT,
    asked=COMMIT,
    files={"a.safetensors": file(), "b.json": file()},
    bytes=29_200_000_000,
)


def test_a_verified_folder_is_in_sync() -> None:
    plan = weights_plan.decide(SEEN, SETTINGS, SHAPE)
    assert (plan.in_sync, plan.findings) == (True, ())
    assert plan.summary == "2 files, 29.2 GB, revision 5555555"


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        pytest.param({"files": {"a": file("absent"), "b": file()}}, ("not there: a",), id="a file is absent"),
        pytest.param({"files": {"a": file("unverified"), "b": file()}}, ("not verified: a",), id="a file was changed"),
        pytest.param(
            {"revision": OTHER, "asked": OTHER}, ("revision 6666666 instead of 5555555",), id="another revision"
        ),
        pytest.param({"repo": "org/other"}, ("org/other instead of org/model",), id="another repository"),
        pytest.param({"repo": "", "revision": ""}, ("unfinished work instead of org/model",), id="cut before the end"),
        pytest.param(
            {"repo": "", "revision": "", "files": {"a": file("absent"), "b": file("absent")}},
            ("not there: a, b",),
            id="nothing yet",
        ),
    ],
)
def test_each_difference_is_a_reason(change: dict[str, Any], reasons: tuple[str, ...]) -> None:
    assert weights_plan.decide(replace(SEEN, **change), SETTINGS, SHAPE).reasons == reasons


@pytest.mark.parametrize(
    ("seen", "settings", "codes"),
    [
        pytest.param({"kind": "other"}, {}, ["PATH_IS_A_FILE"], id="a file in the folder's place"),
        pytest.param({"asked": "main"}, {"weights_revision": "main"}, ["REVISION_NOT_PINNED"], id="a branch"),
        pytest.param({}, {"weights_sha256": {"c": "a" * 64}}, ["VARIABLE_INVALID"], id="a digest of no file"),
        pytest.param({}, {"weights_sha256": {"b.json": "xyz"}}, ["VARIABLE_INVALID"], id="a digest that is none"),
        pytest.param({}, {"weights_sha256": {"b.json": "b" * 64}}, ["WEIGHTS_DIGEST_WRONG"], id="another digest"),
        pytest.param({}, {"weights_sha256": {"b.json": "a" * 64}}, [], id="the right digest"),
        pytest.param({}, {"weights_files": ["../x"]}, ["VARIABLE_INVALID"], id="a file outside the folder"),
    ],
)
def test_what_cannot_be_right_is_a_finding(seen: dict[str, Any], settings: dict[str, Any], codes: list[str]) -> None:
    plan = weights_plan.decide(replace(SEEN, **seen), {**SETTINGS, **settings}, SHAPE)
    assert [found.code for found in plan.findings] == codes


def test_a_branch_is_in_sync_with_the_commit_that_it_named() -> None:
    assert weights_plan.decide(replace(SEEN, asked="main"), {**SETTINGS, "weights_revision": "main"}, SHAPE).in_sync


@pytest.mark.parametrize("record", ["", "{", "[]", '{"files": {}}'], ids=["absent", "cut", "no record", "empty"])
def test_a_record_that_cannot_be_read_means_nothing_is_verified(tmp_path: Path, record: str) -> None:
    settings = {**SETTINGS, "fleet_state_dir": str(tmp_path / "s"), "weights_dir": str(tmp_path / "m")}
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "b.json").write_text("12345")
    path = weights_record.path(settings)
    path.parent.mkdir(parents=True)
    if record:
        path.write_text(record)
    seen = weights.observe(settings)
    assert {name: found.state for name, found in seen.files.items()} == {
        "a.safetensors": "absent",
        "b.json": "unverified",
    }
    assert seen.bytes == 5


def test_parts_on_the_disk_need_no_space_any_more(tmp_path: Path) -> None:
    settings = {**SETTINGS, "fleet_state_dir": str(tmp_path / "s"), "weights_dir": str(tmp_path / "m")}
    staging = tmp_path / "m" / weights.STAGING
    staging.mkdir(parents=True)
    (staging / "a.safetensors.etag.part").write_bytes(b"x" * 1000)
    assert weights.observe(settings).bytes == 1000


def test_two_folders_of_one_host_have_two_records() -> None:
    other = {**SETTINGS, "weights_dir": "/srv/models/other"}
    assert weights_record.path(SETTINGS) != weights_record.path(other)
    assert weights_record.path(SETTINGS) == weights_record.path({**SETTINGS, "weights_dir": "/srv/models/bagel/"})
