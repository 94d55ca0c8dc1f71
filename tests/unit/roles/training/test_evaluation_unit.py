"""After a finished run, and after the merge of its adapters, a unit of its own evaluates it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import perform, program, state
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.last import Figures, Last
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import folders as unit_folders
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload as supervisor_file
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.decide import runs_older
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.have import Have
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.observe import Observation
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.refusals import foreign
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.report import report_of
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.steps import steps_to
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.table import row
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import main as supervisor
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import started
from ansible_collections.canvas.fleet.plugins.module_utils.system import payload as system_payload

from tests.unit.support import models, units
from tests.unit.support.trainings import READY, decide, seen

LOSS = {"evaluation_at_end": "loss"}
LORA = {**LOSS, "training_profile": "lora", "weights_files": [*models.SMALL_FILES, "ema.safetensors"]}
PAIR = Topology("bolt", ("b0", "b1"), 1, 2, 2, "b0", 29501)


def ready(want: Want, **changes: Any) -> Have:
    texts = {"text": want.texts.unit, "merge": want.texts.merge or None, "evaluation": want.texts.evaluation or None}
    specs = {"spec": want.spec(), "evaluation_spec": want.evaluation_spec() or None}
    return replace(READY, **{**texts, **specs, "finished": True, **changes})


@pytest.mark.parametrize(
    "want",
    [
        pytest.param(units.want(evaluation_at_end="none"), id="nobody wants it"),
        pytest.param(units.want(**LOSS, evaluation_test_file=""), id="no test file"),
        pytest.param(units.want(PAIR, **LOSS), id="a node without checkpoints of its own"),
    ],
)
def test_where_nothing_is_evaluated_there_is_no_unit(want: Want) -> None:
    assert want.texts.evaluation == ""
    assert "evaluat" not in want.texts.unit
    assert want.evaluation_spec() == ""
    assert steps_to(ready(want, evaluating="inactive", unevaluated=20), want, "started") == []


LACKS = {"evaluating": "inactive", "unevaluated": 60}


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        pytest.param({}, ["evaluate"], id="not evaluated"),
        pytest.param({"evaluating": "failed"}, [], id="one that failed would fail again"),
        pytest.param({"evaluating": "active"}, [], id="it goes on"),
        pytest.param({"unevaluated": None}, [], id="all is evaluated"),
        pytest.param({"finished": False, "active": "active", "sub": "running"}, [], id="it trains"),
        pytest.param({"unmerged": 60, "merging": "inactive"}, ["merge"], id="the end of the merge will start it"),
        pytest.param({"unmerged": 60, "merging": "active"}, [], id="a merge goes on"),
        pytest.param({"unmerged": 60, "merging": "failed"}, ["evaluate"], id="a merge failed, the adapters are there"),
    ],
)
def test_a_converge_evaluates_what_a_finished_run_left(changes: dict[str, Any], steps: list[str]) -> None:
    want = units.want(**(LORA if "merging" in changes else LOSS))
    assert steps_to(ready(want, **{**LACKS, **changes}), want, "started") == steps
    assert "evaluate" not in steps_to(ready(want, **LACKS), want, "present")


def test_the_plan_says_why() -> None:
    plan = decide(seen(ready(units.want(**LOSS), **LACKS)), **LOSS)
    assert plan.reasons == ("the last checkpoint is not evaluated yet",)


@pytest.mark.parametrize(
    ("evaluating", "unevaluated", "codes"),
    [("failed", 60, ["EVALUATION_FAILED"]), ("failed", None, []), ("active", 60, [])],
)
def test_one_that_failed_is_said_and_changes_nothing(
    evaluating: str, unevaluated: int | None, codes: list[str]
) -> None:
    have = ready(units.want(**LOSS), evaluating=evaluating, unevaluated=unevaluated)
    plan = decide(replace(seen(have), evaluation=state.State("loss", error="CUDA out of memory")), **LOSS)
    assert (plan.reasons, [one.code for one in plan.findings]) == ((), codes)
    assert [one.found for one in plan.findings] == ["step 60 is not evaluated: CUDA out of memory"] * len(codes)


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        pytest.param({**LOSS, "evaluation_test_file": ""}, ["EVALUATION_NOT_AT_END"], id="no test file"),
        pytest.param({"evaluation_at_end": "none", "evaluation_test_file": ""}, [], id="none is wanted"),
        pytest.param(LOSS, [], id="a test file"),
    ],
)
def test_a_run_that_cannot_be_evaluated_is_noted(changes: dict[str, Any], codes: list[str]) -> None:
    plan = decide(seen(ready(units.want(**changes), finished=False, active="active", sub="running")), **changes)
    assert [(one.code, one.severity) for one in plan.findings] == [(code, "note") for code in codes]


def test_a_setting_that_changes_takes_the_unit_away() -> None:
    none = units.want()
    assert "write" in steps_to(replace(READY, evaluation=units.want(**LOSS).texts.evaluation), none, "started")
    assert steps_to(Have(evaluation="# Managed by canvas-fleet"), none, "absent") == ["remove"]
    assert [one.code for one in foreign(Have(evaluation="[Service]\n"), none)] == ["UNIT_FOREIGN"]


def test_a_running_training_is_left_alone_when_what_comes_after_it_changes() -> None:
    """Even where changed settings may restart it."""
    before = units.want(**LOSS, training_apply="restart_after_save")
    after = units.want(**LOSS, training_apply="restart_after_save", evaluation_rows=5, evaluation_seed=7)
    have = ready(before, finished=False, active="active", sub="running")
    assert steps_to(have, after, "started") == ["evaluation"]
    assert runs_older(have, after) is None
    assert steps_to(ready(before), units.want(), "started") == ["evaluation", "write", "reload"]


def test_the_status_tells_how_far_it_is_and_then_the_figures() -> None:
    want = units.want(**LOSS)
    going = Observation(ready(want, evaluating="active", unevaluated=60), evaluation=state.State("loss", 60, 138))
    told = row(report_of(going, want), "atlas")
    assert told.note.endswith("evaluates its last checkpoint (43 %)")
    ended = Last("loss", "t", Figures("0000060", 69, 0.3, 0.1), Figures("base", 69, 2.3, 0.5))
    told = row(report_of(Observation(ready(want, evaluating="inactive"), evaluated=ended), want), "atlas")
    assert told.evaluation == "step 60 on 69 test rows: ce 0.300 (base 2.300), mse 0.100 (base 0.500)"
    assert "evaluate" not in told.note


@pytest.mark.parametrize(("settings", "name"), [(LOSS, "evaluation"), (LORA, "merge")], ids=["alone", "merge first"])
def test_the_end_of_the_training_starts_the_first_of_them(tmp_path: Path, settings: Any, name: str) -> None:
    want = units.want(**settings, fleet_state_dir=str(tmp_path))
    Path(want.record).mkdir(parents=True)
    (line,) = re.findall(r"^ExecStopPost=[-+]*(.*)$", want.texts.unit.replace("\\\n", " "), re.MULTILINE)
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n')
    (tmp_path / "systemctl").chmod(0o755)
    told = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}
    subprocess.run(words, env={**os.environ, **told, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=False)
    assert (tmp_path / "asked").read_text() == f"start --no-block canvas-training-atlas-{name}.service\n"


def test_the_end_of_a_merge_starts_the_evaluation_whatever_came_of_it() -> None:
    start = "ExecStopPost=-+/usr/bin/systemctl start --no-block canvas-training-atlas-evaluation.service\n"
    assert start in units.want(**LORA).texts.merge
    assert "ExecStopPost" not in units.want(**{**LORA, "evaluation_at_end": "none"}).texts.merge


def test_the_unit_evaluates_the_newest_checkpoint_whatever_was_asked_for_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    want = units.want(**LOSS, evaluation_step="40", evaluation_mode="answers", evaluation_seed=7)
    (tmp_path / "spec.json").write_text(want.evaluation_spec())
    told: list[Spec] = []
    monkeypatch.setattr(perform, "perform", lambda spec, _unit, _progress: told.append(spec))
    assert supervisor.main(["evaluate", str(tmp_path / "spec.json")]) == 0
    assert [(one.step, one.mode, one.seed, one.compare_base) for one in told] == [("newest", "loss", 7, True)]
    assert capsys.readouterr().out == "evaluated: loss in /srv/b/out/evaluation\n"


def test_why_it_failed_is_in_the_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "busy", dict)
    (tmp_path / "spec.json").write_text(units.want(**LOSS).evaluation_spec())
    assert supervisor.main(["evaluate", str(tmp_path / "spec.json")]) == 1
    assert capsys.readouterr().out.startswith("the evaluation failed: EVALUATION_TEST_MISSING")


def test_a_start_of_the_training_ends_evaluations_before_it_notes_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = units.want(**LOSS, fleet_state_dir=str(tmp_path))
    Path(want.record).mkdir(parents=True)
    (tmp_path / "spec.json").write_text(want.spec())
    calls: list[bool] = []
    monkeypatch.setattr(state, "stop_all", lambda: calls.append(Path(f"{want.record}/started").exists()))
    assert started.note(str(tmp_path / "spec.json"), {}) == 0
    assert calls == [False]


def test_each_node_wants_the_folders_that_an_observation_looks_for() -> None:
    """It knows no place in the run: what it found lacking on another node would be lacking for ever."""
    observed, applied = units.want(**LOSS), units.want(PAIR, **LOSS)
    assert list(unit_folders._users(applied)) == list(unit_folders._users(observed))
    assert applied.evaluation_dir in unit_folders._users(applied)
    assert applied.evaluation_dir not in unit_folders._users(units.want(PAIR))


def test_the_supervisor_s_file_holds_what_each_process_of_the_evaluation_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, content = supervisor_file.payload()
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr("sys.path", [str(tmp_path / name)])
    assert "evaluation/child.py" in system_payload.closure(program.CHILD, system_payload.sources())
    assert "roles/evaluation/work.py" not in system_payload.sources(), "it is read from the file, not from source"
