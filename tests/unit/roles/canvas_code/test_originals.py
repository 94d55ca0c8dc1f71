"""A patch whose text another version of canvas-fleet changed is taken back, and an edit of it by hand is not."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import sha256
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import patch_table
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.patch import Edit

from tests.unit.roles.canvas_code import test_patching as patching
from tests.unit.roles.canvas_code.test_patching import BEFORE, FSDP, LEAN, Repo, converge, plan, texts
from tests.unit.support.canvas_repo import checkout

repo, table = patching.repo, patching.table  # fixtures
NEWER = "l = 2  # canvas-fleet\nb = 2\n"


def newer_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next version of canvas-fleet has another text, and knows the digests of that one alone."""
    edits = (Edit("a = 1\n", "l = 2  # canvas-fleet\n"),)
    versions = ((sha256(BEFORE[FSDP].encode()), sha256(NEWER.encode())),)
    patch = dataclasses.replace(LEAN[0], versions=versions, edits=edits)
    monkeypatch.setattr(patch_table, "WITHOUT_EMA", ())
    monkeypatch.setattr(patch_table, "OPTIMIZER", ())
    monkeypatch.setattr(patch_table, "LEAN", {"full": (patch,), "frozen": (patch,)})


@pytest.fixture
def older(tmp_path: Path, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Repo:
    converge(tmp_path, repo.one, "full", canvas_code_lean=True)
    newer_version(monkeypatch)
    return repo


@pytest.mark.parametrize(
    ("lean", "text", "reason"),
    [
        pytest.param(True, NEWER, "lacks the patch of canvas_code_lean", id="for the new one"),
        pytest.param(False, BEFORE[FSDP], "has the patches of another version", id="for none"),
    ],
)
def test_the_older_patch_is_taken_back(tmp_path: Path, older: Repo, lean: bool, text: str, reason: str) -> None:
    wanted = plan(tmp_path, older.one, "full", canvas_code_lean=lean)
    assert (wanted.reasons, wanted.findings) == ((f"{FSDP} {reason}",), ())
    assert converge(tmp_path, older.one, "full", canvas_code_lean=lean)["changed"]
    assert texts(tmp_path)[FSDP] == text
    settled = plan(tmp_path, older.one, "full", canvas_code_lean=lean)
    assert (settled.reasons, settled.findings) == ((), ())


def test_another_commit_comes_over_it(tmp_path: Path, older: Repo) -> None:
    converge(tmp_path, older.two, "full", canvas_code_lean=True)
    assert texts(tmp_path)[FSDP] == NEWER


def test_an_edit_of_it_by_hand_is_refused_and_kept(tmp_path: Path, older: Repo) -> None:
    path = checkout(tmp_path) / "BAGEL-Canvas" / FSDP
    path.write_text(path.read_text() + "mine = 1\n")
    with pytest.raises(FleetError, match="UPSTREAM_FILE_UNKNOWN"):
        converge(tmp_path, older.one, "full", canvas_code_lean=True)
    assert path.read_text().endswith("mine = 1\n")


def test_originals_of_files_that_are_no_longer_there_go(tmp_path: Path, repo: Repo) -> None:
    place = tmp_path / "state/canvas_code/originals"
    for profile, lean in (("full", True), ("frozen", True), ("frozen", False)):
        converge(tmp_path, repo.one, profile, canvas_code_lean=lean)
        files = {sha256(text.encode()) for path, text in texts(tmp_path).items() if text != BEFORE[path]}
        assert set(os.listdir(place)) == files
    converge(tmp_path, repo.one, "full", canvas_code_lean=False)
    assert os.listdir(place) == []


def test_a_dry_run_keeps_nothing(tmp_path: Path, repo: Repo) -> None:
    converge(tmp_path, repo.one, "full")
    converge(tmp_path, repo.one, "full", canvas_code_lean=True, check=True)
    assert not (tmp_path / "state/canvas_code/originals").exists()
