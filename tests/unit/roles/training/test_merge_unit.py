"""After a finished run of adapters, a unit of its own merges them; the run is finished without it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import models as merged_models
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.stock import Stock
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.have import Have
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.observe import Observation
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.refusals import foreign
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.report import report_of
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.steps import steps_to
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.table import notes
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import main as supervisor
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import merged

from tests.unit.support import models, saves, units
from tests.unit.support.trainings import READY, decide, seen

LORA = {"training_profile": "lora", "weights_files": [*models.SMALL_FILES, "ae.safetensors", "ema.safetensors"]}
PAIR = Topology("bolt", ("b0", "b1"), 1, 2, 2, "b0", 29501)


def wanted(**changes: Any) -> Want:
    return units.want(**{**LORA, **changes})


def ready(want: Want, **changes: Any) -> Have:
    texts = want.texts
    return replace(READY, text=texts.unit, merge=texts.merge or None, spec=want.spec(), finished=True, **changes)


@pytest.mark.parametrize(
    "want",
    [
        pytest.param(wanted(training_profile="full"), id="another profile"),
        pytest.param(wanted(training_lora_merge="never"), id="nobody wants it"),
        pytest.param(units.want(PAIR, **LORA), id="a node whose adapters are those of the first"),
    ],
)
def test_where_nothing_is_merged_there_is_no_unit(want: Want) -> None:
    assert want.texts.merge == ""
    assert "merge" not in want.texts.unit
    assert "merge" not in json.loads(want.spec())
    # An observation knows no ranks: it asks each node as if it were the first.
    have = ready(want, merging="inactive", unmerged=20)
    assert steps_to(have, want, "started") == []
    assert report_of(seen(have), want).merge == ""


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        pytest.param({"unmerged": 60, "merging": "inactive"}, ["merge"], id="not merged"),
        pytest.param({"unmerged": 60, "merging": "failed"}, [], id="a merge that failed would fail again"),
        pytest.param({"unmerged": 60, "merging": "active"}, [], id="a merge goes on"),
        pytest.param({"unmerged": 60, "merging": "activating"}, [], id="a merge begins"),
        pytest.param({"merging": "inactive"}, [], id="all is merged"),
        pytest.param({"unmerged": 60, "finished": False, "active": "active", "sub": "running"}, [], id="it trains"),
    ],
)
def test_a_converge_merges_what_a_finished_run_left(changes: dict[str, Any], steps: list[str]) -> None:
    want = wanted()
    assert steps_to(ready(want, **changes) if "finished" not in changes else replace(ready(want), **changes), want,
                    "started") == steps  # fmt: skip
    assert "merge" not in steps_to(ready(want, unmerged=60, merging="inactive"), want, "present")


def test_the_plan_says_why() -> None:
    plan = decide(seen(ready(wanted(), unmerged=60, merging="inactive")), **LORA)
    assert plan.reasons == ("the adapters of the last checkpoint are no whole model yet",)


@pytest.mark.parametrize(
    ("merging", "unmerged", "codes"), [("failed", 60, ["MERGE_FAILED"]), ("failed", None, []), ("active", 60, [])]
)
def test_a_merge_that_failed_is_said_and_changes_nothing(merging: str, unmerged: int | None, codes: list[str]) -> None:
    state = merged_models.State(60, error="a weight is not finite")
    plan = decide(replace(seen(ready(wanted(), unmerged=unmerged, merging=merging)), merge=state), **LORA)
    assert (plan.reasons, [one.code for one in plan.findings]) == ((), codes)
    assert [one.found for one in plan.findings] == ["step 60 is not merged: a weight is not finite"] * len(codes)


@pytest.mark.parametrize(("stock", "codes"), [(Stock(1, 1, 10**9), []), (Stock(2, 1, 10**9), ["MODELS_PILE_UP"])])
def test_models_and_exports_that_pile_up_are_counted_in_plan_and_status(stock: Stock, codes: list[str]) -> None:
    there = replace(seen(ready(wanted())), stock=stock)
    plan = decide(there, **LORA)
    assert (plan.reasons, [one.code for one in plan.findings]) == ((), codes)
    words = "2 merged models and 1 export, 1.0 GB that only they hold"
    assert [words in one.found for one in plan.findings] == [True] * len(codes)
    assert (words in notes(report_of(there, wanted()))) is bool(codes)


def test_a_profile_that_changes_takes_the_unit_away() -> None:
    full = units.want()
    assert "write" in steps_to(replace(READY, merge=wanted().texts.merge), full, "started")
    assert steps_to(Have(merge="# Managed by canvas-fleet"), full, "absent") == ["remove"]
    assert [one.code for one in foreign(Have(merge="[Service]\n"), full)] == ["UNIT_FOREIGN"]


@pytest.mark.parametrize(
    ("have", "state", "note"),
    [
        pytest.param(
            {"merging": "active", "unmerged": 60}, merged_models.State(60, 43, 100), "checkpoint (43 %)", id="on"
        ),
        pytest.param(
            {"merging": "activating", "unmerged": 60}, None, "merges the adapters of its last checkpoint", id="new"
        ),
        pytest.param(
            {"merging": "failed", "unmerged": 60},
            merged_models.State(60, error="the disk is too small"),
            "step 60 is not merged: the disk is too small",
            id="failed",
        ),
        pytest.param({"merging": "inactive"}, None, "", id="done"),
        pytest.param(
            {"merging": "active", "unmerged": 60, "finished": False}, None, "", id="a run that is not finished"
        ),
    ],
)
def test_the_status_tells_how_far_it_is(have: dict[str, Any], state: merged_models.State | None, note: str) -> None:
    want = wanted()
    told = report_of(Observation(replace(ready(want), **have), merge=state), want)
    assert told.merge.endswith(note) if note else told.merge == ""


def test_the_end_of_the_training_starts_it_and_waits_for_nothing(tmp_path: Path) -> None:
    want = wanted(fleet_state_dir=str(tmp_path))
    Path(want.record).mkdir(parents=True)
    (line,) = re.findall(r"^ExecStopPost=[-+]*(.*)$", want.texts.unit.replace("\\\n", " "), re.MULTILINE)
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n')
    (tmp_path / "systemctl").chmod(0o755)
    for status in ("75", "79", "0"):
        told = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": status}
        path = f"{tmp_path}:{os.environ['PATH']}"
        subprocess.run(words, env={**os.environ, **told, "PATH": path}, check=False)
    assert (tmp_path / "asked").read_text() == "start --no-block canvas-training-atlas-merge.service\n"


@pytest.fixture
def trained(tmp_path: Path) -> Want:
    out = tmp_path / "out"
    base = models.base(tmp_path / "model")
    saves.save(out / "checkpoints", 60, files=saves.LORA)
    models.adapters(out / "checkpoints/0000060/adapter.safetensors", base)
    places = {"results_dir": out, "checkpoint_dir": out / "checkpoints"}
    want = wanted(
        weights_dir=str(tmp_path / "model"), **{f"training_{name}": str(path) for name, path in places.items()}
    )
    (tmp_path / "spec.json").write_text(want.spec())
    return want


def test_the_unit_makes_the_model_of_the_newest_checkpoint(trained: Want, tmp_path: Path) -> None:
    assert supervisor.main(["merge", str(tmp_path / "spec.json")]) == 0
    assert (tmp_path / "out/models/0000060/MERGED.json").is_file()
    place = saves.place(tmp_path / "out")
    assert merged_models.unmerged(place, trained.results_dir) is None


def test_why_it_failed_is_in_the_journal_and_in_the_state(trained: Want, tmp_path: Path) -> None:
    (tmp_path / "model/ae.safetensors").unlink()
    said: list[str] = []
    assert merged.run(str(tmp_path / "spec.json"), said.append) == 1
    assert said[-1].startswith("the merge failed: the base lacks files")
    state = merged_models.state_of(trained.results_dir)
    assert state is not None
    assert "the base lacks files" in state.error
    assert merged_models.unmerged(saves.place(tmp_path / "out"), trained.results_dir) == 60
