"""Code that says it can do something by itself: no patch is wanted for that, as long as its files are what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.settings import Settings
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import sha256
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import built_in, patch_table

from tests.unit.roles.canvas_code import test_patching as base
from tests.unit.support.canvas_repo import checkout
from tests.unit.support.places import ROOT

repo, table = base.repo, base.table
FROZEN = "training_profile: frozen"
OTHER = {base.FSDP: "a = 7\n", base.MAIN: "m = 7\n"}  # files that no patch knows
DIGESTS = {path: sha256(text.encode()) for path, text in OTHER.items()}


def declared(files: dict[str, str], *names: str) -> str:
    return json.dumps({"built_in": names, "files": files})


def codes(found: Any) -> list[str]:
    return [one.code for one in found.findings if one.code != "UPSTREAM_UNKNOWN"]


def with_code(root: Path, repo: base.Repo, said: str) -> str:
    """A commit of another trainer that says so of itself."""
    base.write(repo.path / "BAGEL-Canvas", {**OTHER, built_in.NAME: said})
    commit = repo.commit("another trainer")
    base.converge(root, commit, "full")
    return commit


def test_what_is_built_in_is_not_patched(tmp_path: Path, repo: base.Repo) -> None:
    commit = with_code(tmp_path, repo, declared(DIGESTS, FROZEN))
    base.converge(tmp_path, commit, "frozen")
    assert base.texts(tmp_path) == OTHER
    settled = base.plan(tmp_path, commit, "frozen")
    assert (settled.reasons, codes(settled)) == ((), [])
    assert settled.summary.endswith(f", built in: {FROZEN}")
    assert "built in" not in base.plan(tmp_path, commit, "full").summary


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(declared(DIGESTS, "training_profile: lora"), id="another profile"),
        pytest.param(declared({}, FROZEN), id="no file"),
        pytest.param(declared({base.MAIN: DIGESTS[base.MAIN]}, FROZEN), id="one file of two"),
        pytest.param(declared({**DIGESTS, base.FSDP: "0" * 64}, FROZEN), id="another file"),
        pytest.param(declared({**DIGESTS, "train/loop.py": "0" * 64}, FROZEN), id="a file that is not there"),
        pytest.param("{", id="no JSON"),
        pytest.param("[" * 5000, id="JSON that is too deep"),
        pytest.param('{"built_in": "training_profile: frozen"}', id="a text instead of a list"),
        pytest.param(declared(DIGESTS, FROZEN) + " " * built_in.LIMIT, id="too long"),
    ],
)
def test_anything_else_is_refused_as_ever(tmp_path: Path, repo: base.Repo, said: str) -> None:
    commit = with_code(tmp_path, repo, said)
    assert codes(base.plan(tmp_path, commit, "frozen")) == ["UPSTREAM_FILE_UNKNOWN"] * 2
    with pytest.raises(FleetError, match="SHA-256"):
        base.converge(tmp_path, commit, "frozen")
    assert base.texts(tmp_path) == OTHER


def test_an_edit_by_hand_ends_it(tmp_path: Path, repo: base.Repo) -> None:
    commit = with_code(tmp_path, repo, declared(DIGESTS, FROZEN))
    (checkout(tmp_path) / "BAGEL-Canvas" / base.MAIN).write_text("m = 8\n")
    assert "UPSTREAM_FILE_UNKNOWN" in codes(base.plan(tmp_path, commit, "frozen"))


@pytest.mark.parametrize("value", ["adamw_fused", "adamw_8bit"])
def test_an_optimizer_is_built_in_by_its_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(patch_table, "OPTIMIZER", base.LEAN)
    told: Settings = {"training_profile": "full", "run_config_optimizer": value, "run_config_ema": 1.0}  # type: ignore[assignment]
    left = patch_table.wanted(told, built_in=["run_config_optimizer: adamw_fused"])
    assert left == (() if value == "adamw_fused" else base.LEAN)


def test_the_demos_trainer_says_what_it_has() -> None:
    """After a change of the trainer: the file below, with the digest that this test shows."""
    trainer = ROOT / "demo/minicanvas/BAGEL-Canvas"
    paths = [path for path in ("train/fsdp_utils.py", "train/pretrain_unified_navit.py") if (trainer / path).exists()]
    told = json.loads((trainer / built_in.NAME).read_text())
    assert told["files"] == {path: sha256((trainer / path).read_bytes()) for path in paths}
    assert told["built_in"] == [
        "training_profile: lora",
        "run_config_optimizer: adamw_fused",
        "run_config_num_shard: 1",
    ]
