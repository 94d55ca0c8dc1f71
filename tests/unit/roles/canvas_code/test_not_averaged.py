"""Copies of one shard each: one model where the patch is wanted or the code has it, else a finding."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import decide as canvas_code_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import patch_findings, patched
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code.observe import Observation
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code.patched import Code
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import built_in
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import known as upstream

from tests.unit.roles.canvas_code import test_built_in as built
from tests.unit.roles.canvas_code import test_patching as base
from tests.unit.support.places import ROOT
from tests.unit.support.run_settings import settings, topology

repo, table = base.repo, base.table
TWO = topology(hosts=("one", "two"), nproc_per_node=1)
OWN = "run_config_num_shard: 1"
LEAN = "canvas_code_lean: true"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...], bool]] = {  # settings, topology, built in
    "full without the patch": ({}, {}, (), True),
    "frozen without the patch": ({"training_profile": "frozen"}, {}, (), True),
    "copies on one host": ({}, {"hosts": ("one",), "nproc_per_node": 4, "own_shards": 1, "own_replicas": 4}, (), True),
    "the patch is not wanted: the code has lean starts": ({"canvas_code_lean": True}, {}, (LEAN,), True),
    "with the patch": ({"canvas_code_lean": True}, {}, (), False),
    "adapters": ({"training_profile": "lora"}, {}, (), False),
    "one rank": ({}, {"hosts": ("one",)}, (), False),
    "two shards on each node": ({}, {"nproc_per_node": 2}, (), False),
    "one copy over both nodes": ({}, {"own_shards": 2, "own_replicas": 1}, (), False),
    "the code averages them": ({}, {}, (OWN,), False),
    "… and has lean starts": ({"canvas_code_lean": True}, {}, (LEAN, OWN), False),
    "no hybrid mesh": ({"run_config_extra_flags": {"sharding_strategy": "FULL_SHARD"}}, {}, (), False),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "place", "declared", "refused"), CASES.values(), ids=CASES)
def test_copies_of_one_shard_need_the_patch(
    changes: dict[str, Any], place: dict[str, Any], declared: tuple[str, ...], refused: bool
) -> None:
    told: Any = settings(**{"canvas_code_lean": False, **changes})
    found = patch_findings.not_averaged(Code(built_in=declared), told, replace(TWO, **place))
    assert [one.code for one in found] == ["REPLICAS_NOT_AVERAGED"] * refused
    assert all(one.refuses and one.variable == "canvas_code_lean" for one in found)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        pytest.param({}, True, id="a known commit"),
        pytest.param({"canvas_code_commit": upstream.COMMITS[1]}, True, id="the other"),
        pytest.param({"canvas_code_commit": "ab" * 20}, False, id="another: it may say that it averages them"),
        pytest.param({"canvas_code_source": "controller"}, False, id="a copy"),
    ],
)
def test_before_the_code_is_there_only_a_known_commit_is_judged(
    tmp_path: Path, changes: dict[str, Any], refused: bool
) -> None:
    copied = {"canvas_code_controller_digest": "ab" * 32, "canvas_code_controller_path": "/home/me/code"}
    told: Any = base.settings(tmp_path, upstream.COMMITS[0], training_profile="full", **copied | changes)
    found = canvas_code_plan.decide(Observation(path="/srv/code", state="absent"), told, TWO)
    assert ("REPLICAS_NOT_AVERAGED" in [one.code for one in found.findings]) == refused


def test_code_in_place_is_asked_what_it_has(tmp_path: Path, repo: base.Repo) -> None:
    """The role itself, which knows one host, goes on in both cases."""
    for said, refused in ((built.declared(built.DIGESTS, OWN), False), (built.declared({}, OWN), True)):
        commit = built.with_code(tmp_path, repo, said)
        told: Any = base.settings(tmp_path, commit, training_profile="full")
        found = canvas_code_plan.decide(base.canvas_code.observe(told), told, TWO)
        assert found.in_sync
        assert ("REPLICAS_NOT_AVERAGED" in built.codes(found)) == refused


@pytest.mark.parametrize("says", [True, False])
def test_the_demos_trainer_needs_no_patch_since_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: bool
) -> None:
    monkeypatch.undo()
    code = tmp_path / "BAGEL-Canvas"
    shutil.copytree(ROOT / "demo/minicanvas/BAGEL-Canvas", code)
    if not says:
        (code / built_in.NAME).unlink()
    told: Any = base.settings(tmp_path, "ab" * 20, canvas_code_checkout=str(tmp_path), canvas_code_dir=str(code))
    found = patch_findings.not_averaged(patched.observe(told), told, TWO)
    assert [one.code for one in found] == ["REPLICAS_NOT_AVERAGED"] * (not says)
