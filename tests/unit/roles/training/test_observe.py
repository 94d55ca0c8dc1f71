"""The role `training`: what it tells of a training, and what it says before a start."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import apply as training_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import decide as training_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import host as unit_host
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import observe as training
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import report as training_report
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import steps as unit
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.steps import Have
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.text import render, render_gpu
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import checkpoint as checkpoints

from tests.unit.support.places import FIXTURES

RECORDED = FIXTURES / "trainer"
SHAPE = Topology("atlas", ("atlas",), 0, 2, 2, "localhost", 29501)
SETTINGS: dict[str, Any] = {
    "training_unit": "canvas-training-atlas",
    "training_run": "atlas",
    "training_script": "/srv/b/train.sh",
    "training_working_dir": "/srv/b/code",
    "training_results_dir": "/srv/b/out",
    "training_checkpoint_dir": "/srv/b/out/checkpoints",
    "training_inputs": ["/srv/b/data.yaml"],
    "training_wandb_key_file": "",
    "training_state": "started",
    "training_restarts": 3,
    "training_stop_seconds": 60,
    "fleet_user": "blockmoving",
    "fleet_group": "blockmoving",
    "fleet_state_dir": "/var/lib/canvas-fleet",
    "run_config_auto_resume": True,
    "run_config_num_shard": 0,
}
WANT = training.want_of(SETTINGS, SHAPE)
READY = Have(
    text=render(WANT),
    gpu=render_gpu(WANT),
    spec=WANT.spec(),
    payloads=(WANT.payload.rpartition("/")[2],),
    load="loaded",
    enabled=True,
    record=True,
    folders=True,
)
RUNS = replace(READY, active="active", sub="running")


def checkpoint(step: int, kind: str = "whole", shards: int | None = 2, flaw: str = "") -> checkpoints.Checkpoint:
    return checkpoints.Checkpoint(step, f"/srv/b/out/checkpoints/{step:07d}", kind, (flaw,) if flaw else (), shards)


def seen(
    have: Have, *found: checkpoints.Checkpoint, foreign: tuple[str, ...] = (), step: int | None = None
) -> dict[str, Any]:
    """An observation as it arrives on the controller."""
    told = {
        "unit": unit.as_dict(have),
        "phase": have.phase,
        "log": {"step": step, "total_steps": 60},
        "tail": [],
        "failure": None,
        "survey": checkpoints.Survey(found, foreign).as_dict(),
    }
    return dict(json.loads(json.dumps(told)))


def decide(observed: dict[str, Any], topology: Topology = SHAPE, **changed: Any) -> Any:
    return training_plan.decide(observed, {**SETTINGS, **changed}, topology)


@pytest.mark.parametrize(
    ("have", "summary"),
    [(RUNS, "running, step 35/60"), (replace(READY, finished=True), "finished, step 35/60")],
)
def test_a_running_and_a_finished_training_are_in_sync(have: Have, summary: str) -> None:
    plan = decide(seen(have, step=35))
    assert plan.in_sync
    assert plan.summary == summary
    assert not plan.findings
    assert plan.values["report"]["step"] == 35
    assert not decide(seen(have, step=35), training_follow=True).values


@pytest.mark.parametrize(
    ("have", "total", "codes"),
    [
        (replace(READY, finished=True), 120, ["RUN_STAYS_FINISHED"]),
        (replace(READY, finished=True), 60, []),
        (RUNS, 120, ["TRAINING_RUNS_OLDER"]),
        (READY, 120, []),
    ],
)
def test_more_steps_for_a_run_that_has_ended_need_a_start_that_is_asked_for(
    have: Have, total: int, codes: list[str]
) -> None:
    plan = decide(seen(have, step=60), training_total_steps=total)
    assert [one.code for one in plan.findings] == codes
    assert not [reason for reason in plan.reasons if have.finished and "the training is" in reason]


def test_a_report_can_be_told_whatever_the_names_on_the_host(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode("实验".encode("gbk"))
    odd.mkdir()
    told = training_report.report(READY, replace(WANT, results_dir=str(tmp_path), checkpoint_dir=str(tmp_path)))
    json.dumps(told, ensure_ascii=False).encode()
    assert len(told["foreign"]) == 1


def test_checkpoints_that_root_may_not_read_are_read_as_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    denied = {
        "survey": {"checkpoints": [{"flaws": ["cannot be read: Permission denied"]}]},
        "kept": {"checkpoints": []},
    }
    asked = []

    def surveyed(place: Any) -> dict[str, Any]:
        asked.append(os.geteuid())
        return denied if os.geteuid() == 0 else {"survey": "as owner"}

    os.chown(tmp_path, 12345, 12345)
    monkeypatch.setattr(training_report.checkpoint_guard, "surveyed", surveyed)
    found = training_report._surveyed(training_report.Place(str(tmp_path), str(tmp_path / "kept")))
    assert (found, asked) == ({"survey": "as owner"}, [0, 12345])


@pytest.mark.parametrize(
    ("state", "have", "reasons"),
    [
        (
            "started",
            Have(),
            (
                "results, checkpoint or record folder to be made",
                "another version of the supervisor",
                "what the supervisor is told differs",
                "no unit yet",
                "the unit would not come back after a reboot",
                "the training is absent",
            ),
        ),
        ("started", READY, ("the training is stopped",)),
        ("started", replace(READY, active="failed"), ("the training is failed",)),
        ("started", replace(RUNS, text="old"), ("the unit's text differs",)),
        ("started", replace(RUNS, reload=True), ("systemd does not know the unit's text on disk",)),
        ("restarted", RUNS, ("the training runs", "a restart was asked for")),
        ("stopped", RUNS, ("the unit would come back after a reboot", "the training runs")),
        ("stopped", replace(READY, enabled=False), ()),
        (
            "started",
            replace(RUNS, others={"canvas-training-bolt": "inactive"}),
            ("canvas-training-bolt, of another run, would come back after a reboot",),
        ),
        ("present", READY, ()),
        ("absent", Have(), ()),
        ("absent", replace(READY, enabled=False), ("the unit is there", "the unit's record is there")),
    ],
)
def test_the_reasons_are_sentences(state: str, have: Have, reasons: tuple[str, ...]) -> None:
    assert decide(seen(have), training_state=state).reasons == reasons


@pytest.mark.parametrize(
    ("found", "foreign", "code"),
    [
        ([checkpoint(20)], (), None),
        ([checkpoint(20, "model"), checkpoint(40)], (), None),
        ([checkpoint(20), checkpoint(40, "incomplete", flaw="scheduler.pt is missing")], (), "CHECKPOINT_INCOMPLETE"),
        ([checkpoint(20, "model")], (), "CHECKPOINT_INCOMPLETE"),
        ([checkpoint(20, shards=4)], (), "CHECKPOINT_SHARDS_DIFFER"),
        ([checkpoint(20, "incomplete"), checkpoint(40)], (), None),
        ([checkpoint(20)], (".ipynb_checkpoints",), "CHECKPOINTS_FOREIGN_NAME"),
    ],
)
def test_a_start_that_would_die_on_the_checkpoints_is_told_before(
    found: list[checkpoints.Checkpoint], foreign: tuple[str, ...], code: str | None
) -> None:
    plan = decide(seen(READY, *found, foreign=foreign))
    assert [one.code for one in plan.findings] == ([code] if code else [])
    for quiet in (
        decide(seen(RUNS, *found, foreign=foreign)),
        decide(seen(READY, *found, foreign=foreign), run_config_auto_resume=False),
        decide(seen(READY, *found, foreign=foreign), training_state="stopped"),
    ):
        assert not quiet.findings


def test_a_node_without_the_checkpoint_is_sent_to_the_first_host() -> None:
    second = replace(SHAPE, hosts=("bolt0", "bolt1"), node_rank=1)
    plan = decide(seen(READY, checkpoint(20, "incomplete", None, "no optimizer file")), second)
    assert plan.findings[0].remedy.startswith("copy the newest whole checkpoint of bolt0 to this host")


def test_shards_are_those_that_the_user_set() -> None:
    assert not decide(seen(READY, checkpoint(20, shards=4)), run_config_num_shard=4).findings


@pytest.mark.parametrize(
    ("have", "older"),
    [
        (RUNS, False),
        (replace(RUNS, text="old"), True),
        (replace(RUNS, spec="{}"), True),
        (replace(RUNS, started={"/srv/b/train.sh": "1"}, digests={"/srv/b/train.sh": "2"}), True),
        (replace(RUNS, started={"/srv/b/train.sh": "1"}, digests={"/srv/b/train.sh": "1"}), False),
        (replace(READY, finished=True, started={"/a": "1"}, digests={"/a": "2"}), False),
    ],
)
def test_a_running_training_older_than_its_files_is_told(have: Have, older: bool) -> None:
    assert [one.code for one in decide(seen(have)).findings] == (["TRAINING_RUNS_OLDER"] if older else [])


@pytest.mark.parametrize("active", ["active", "activating", "deactivating"])
def test_the_plan_refuses_a_start_beside_another_run_as_the_module_does(active: str) -> None:
    have = replace(READY, others={"canvas-training-bolt": active})
    (found,) = decide(seen(have)).findings
    assert (found.code, found.found) == ("TRAINING_OF_ANOTHER_RUN", f"canvas-training-bolt is {active}")
    for quiet in (decide(seen(have), training_state="stopped"), decide(seen(replace(RUNS, others=have.others)))):
        assert not quiet.findings


@pytest.mark.parametrize(
    ("links", "strays"),
    [
        ({"out/ck": "disk/ck"}, {"out/ck": "disk/ck"}),
        ({"out": "disk/out"}, {}),
        ({"out/ck": "out/elsewhere"}, {}),
        ({"out/kept": "disk/kept"}, {"out/kept": "disk/kept"}),
        ({}, {}),
    ],
    ids=["checkpoints on another disk", "the whole results", "within the results", "what is kept", "none"],
)
def test_folders_that_lie_behind_a_link_outside_of_the_units_own_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: dict[str, str], strays: dict[str, str]
) -> None:
    for link, target in links.items():
        for folder in (tmp_path / target, (tmp_path / link).parent):
            folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / target)
    monkeypatch.setattr(unit_host, "PATH", str(tmp_path))
    found = unit_host.Systemd().read(at(tmp_path)).strays
    assert found == {f"{tmp_path}/{path}": f"{tmp_path}/{real}" for path, real in strays.items()}


@pytest.mark.parametrize(
    ("path", "variable"), [(WANT.checkpoint_dir, "training_checkpoint_dir"), (WANT.kept, "training_kept_dir")]
)
def test_a_save_that_would_meet_a_read_only_file_system_is_refused_before(path: str, variable: str) -> None:
    have = replace(READY, strays={path: "/disk/ck"})
    (found,) = decide(seen(have)).findings
    assert (found.code, found.remedy) == ("CHECKPOINTS_LINKED_AWAY", f"{variable}: /disk/ck")
    assert not decide(seen(replace(RUNS, strays=have.strays))).findings
    host = Dies()
    host.have = have
    with pytest.raises(FleetError, match=f"{variable}: /disk/ck"):
        training_apply.converge(host, WANT, "started", check=True, settle=0)


def test_a_name_that_systemd_refuses_is_a_finding_not_a_crash() -> None:
    plan = decide(seen(Have()), training_unit="canvas training")
    assert [one.code for one in plan.findings] == ["VARIABLE_INVALID"]


def at(folder: Path, **change: Any) -> Want:
    return replace(
        WANT, results_dir=str(folder / "out"), checkpoint_dir=str(folder / "out/ck"), state_dir=str(folder), **change
    )


def write(want: Want, log: str = "", errors: str = "") -> None:
    Path(want.results_dir).mkdir(parents=True, exist_ok=True)
    Path(want.own).mkdir(parents=True, exist_ok=True)
    Path(want.log).write_text(log)
    Path(want.errors).write_text(errors)


def test_the_report_tells_step_losses_speed_and_weights(tmp_path: Path) -> None:
    want = at(tmp_path)
    write(want, (RECORDED / "cc48f16/resumed.log").read_text())
    told = training_report.report(RUNS, want)
    assert (told["phase"], told["step"], told["total_steps"], told["weights"]) == ("running", 50, 60, "loaded")
    assert told["rate"] == pytest.approx(0.44)
    assert told["seconds_left"] == pytest.approx(10 / 0.44)
    assert told["failure"] is None
    assert json.loads(json.dumps(told)) == told


def test_what_a_rotated_log_no_longer_says_is_told_by_the_supervisor(tmp_path: Path) -> None:
    want, have = at(tmp_path), replace(READY, finished=True, invocation="a1")
    write(want, log="(step=0000060) Train Loss ce: 1.0, Train Steps/Sec: 2.0\n")
    Path(want.own).mkdir(parents=True, exist_ok=True)
    heard = {"weights": "loaded", "total_steps": 60, "start_step": 0}
    Path(want.own, "state.json").write_text(json.dumps({**heard, "invocation": "of another start"}))
    assert training_report.report(have, want)["weights"] == ""
    Path(want.own, "state.json").write_text(json.dumps({**heard, "invocation": "a1"}))
    log = training_report.report(have, want)
    assert (log["weights"], log["total_steps"], log["step"]) == ("loaded", 60, 60)


def test_lines_before_the_recorded_start_are_of_another_start(tmp_path: Path) -> None:
    want = at(tmp_path)
    old = (RECORDED / "cc48f16/finished.log").read_text()
    write(want, old)
    told = training_report.report(replace(RUNS, started={"log_bytes": str(len(old.encode()))}), want)
    assert (told["step"], told["weights"], told["reached"]) == (None, "", False)


FAILED = replace(READY, active="failed", result="exit-code", status=1, ended="exit-code exited 1")


@pytest.mark.parametrize(
    ("have", "errors", "kind"),
    [
        (FAILED, "oom", "GPU_OUT_OF_MEMORY"),
        (replace(FAILED, active="activating", sub="auto-restart"), "port", "PORT_TAKEN"),
        (replace(FAILED, ended="oom-kill killed KILL"), "kill", "HOST_OUT_OF_MEMORY"),
        (replace(FAILED, active="inactive"), "term", "TERMINATED"),
        (replace(FAILED, ended="watchdog killed KILL"), "", "HANG_SUPERVISOR"),
        (replace(FAILED, status=200), "oom", "UNIT_SETUP"),
        (replace(FAILED, status=200, ended="success exited 0"), "", "UNIT_SETUP"),
        (replace(FAILED, invocation="b", started={"invocation": "a"}), "oom", "UNKNOWN"),
        (replace(READY, ended="success exited 0"), "oom", None),
        (RUNS, "oom", None),
        (READY, "", None),
    ],
)
def test_a_failure_is_told_of_the_start_that_failed(tmp_path: Path, have: Have, errors: str, kind: str | None) -> None:
    want = at(tmp_path)
    write(want, "", (RECORDED / f"torchrun-2.13.0/{errors}.err").read_text() if errors else "")
    failure = training_report.report(have, want)["failure"]
    assert (failure["kind"] if failure else None) == kind


def test_words_that_fit_no_class_are_shown_as_they_are(tmp_path: Path) -> None:
    want = at(tmp_path)
    write(want, "", "/bin/bash: /srv/b/train.sh: No such file or directory\n")
    failure = training_report.report(replace(FAILED, status=127), want)["failure"]
    assert failure["line"] == "/bin/bash: /srv/b/train.sh: No such file or directory"


class Dies:
    """A host whose training does not live."""

    def __init__(self) -> None:
        self.have = READY

    def read(self, want: Want) -> Have:
        return self.have

    def do(self, step: str, want: Want) -> None:
        assert step == "start"
        self.have = replace(self.have, active="failed", result="exit-code", status=1, ended="exit-code exited 1")

    def settled(self, want: Want, seconds: float) -> Have:
        return self.have

    def stopped(self, want: Want) -> None:
        raise AssertionError


def test_a_start_that_does_not_live_is_an_error_with_the_trainers_words(tmp_path: Path) -> None:
    want, host = at(tmp_path), Dies()
    host.have = replace(READY, text=render(want), gpu=render_gpu(want), spec=want.spec())
    write(want, "", (RECORDED / "torchrun-2.13.0/oom.err").read_text())
    with pytest.raises(FleetError) as caught:
        training_apply.converge(host, want, "started", check=False, settle=0)
    assert "GPU_OUT_OF_MEMORY" in str(caught.value)
    assert "CUDA out of memory" in str(caught.value)


def test_the_diff_shows_text_and_manner() -> None:
    done = training_apply.Outcome(("write",), Have(), RUNS)
    texts, manner = training_apply.difference(done, WANT, "started")
    assert (texts["before"], texts["after"]) == ("", render(WANT))
    assert "running: false" in manner["before"]
    assert "running: true" in manner["after"]
    assert training_apply.difference(training_apply.Outcome((), RUNS, RUNS), WANT, "started") == []
    (other,) = training_apply.difference(training_apply.Outcome(("disable bolt",), RUNS, RUNS), WANT, "started")
    assert (other["before_header"], "not started" in other["after"]) == ("bolt", True)
    finished = replace(READY, finished=True)
    assert training_apply.difference(training_apply.Outcome((), finished, finished), WANT, "started") == []


SYSTEMCTL = """#!/bin/sh
echo "$@" >> {log}
case "$1" in
show)
  case "$2" in
  -pId)
    shift 4
    for unit; do printf 'Id=%s\\nActiveState=%s\\nUnitFileState=%s\\n\\n' "$unit" {others}; done ;;
  *) printf 'LoadState=loaded\\nActiveState=%s\\nSubState=running\\nUnitFileState=enabled\\nNRestarts=2\\n' active ;;
  esac ;;
start) echo 'Job failed' >&2; exit 1 ;;
esac
"""


def test_the_host_is_read_from_systemd_and_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text(SYSTEMCTL.format(log=tmp_path / "asked", others=""))
    tool.chmod(0o755)
    want = at(tmp_path, script=str(tmp_path / "train.sh"), inputs=())
    (tmp_path / "train.sh").write_text("exit 0\n")
    write(want)
    Path(want.record, "started").write_text(f"invocation ab\n{'1' * 64}  {want.script}\n")
    Path(want.record, "ended").write_text("exit-code exited 1\n")
    host = unit_host.Systemd()
    monkeypatch.setattr(unit_host, "PATH", str(tmp_path))
    have = host.read(want)
    assert (have.active, have.enabled, have.restarts, have.ended) == ("active", True, 2, "exit-code exited 1")
    assert have.older() == [want.script]
    assert not have.finished
    assert have.text is None
    with pytest.raises(FleetError, match="Job failed"):
        host.do("start", want)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "reset-failed canvas-training-atlas.service" in asked


@pytest.mark.parametrize(
    ("said", "others"),
    [
        ("inactive enabled", {"canvas-training-bolt": "inactive"}),
        ("failed enabled", {"canvas-training-bolt": "failed"}),
        ("active disabled", {"canvas-training-bolt": "active"}),
        ("inactive disabled", {}),
        ("inactive ''", {}),
    ],
    ids=["would boot", "failed, would boot", "runs", "rests", "only its record is left"],
)
def test_units_of_other_runs_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, others: dict[str, str]
) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text(SYSTEMCTL.format(log=tmp_path / "asked", others=said))
    tool.chmod(0o755)
    monkeypatch.setattr(unit_host, "PATH", str(tmp_path))
    want = at(tmp_path)
    Path(want.record).mkdir(parents=True)
    assert unit_host.Systemd().read(want).others == {}, "its own unit is no other"
    (tmp_path / "training/canvas-training-bolt").mkdir()
    assert unit_host.Systemd().read(want).others == others
    unit_host.Systemd().do("disable canvas-training-bolt", want)
    assert "disable canvas-training-bolt.service" in (tmp_path / "asked").read_text().splitlines()


@pytest.mark.parametrize(
    ("active", "phases"),
    [
        (["activating"] * 9, ["running"]),
        (["activating", "active", "failed"], ["running"]),
        (["activating", "deactivating", "deactivating", "inactive"], ["stopped"]),
        (["activating", "activating", "failed"], ["failed"]),
        (["deactivating"] * 3 + ["inactive"], ["stopped"]),
        (["deactivating"] * 9, ["stopping"]),
    ],
)
def test_a_start_is_watched_until_it_settles_or_has_stopped(
    monkeypatch: pytest.MonkeyPatch, active: list[str], phases: list[str]
) -> None:
    now, states = [0.0], iter(active)
    host = unit_host.Systemd(sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(unit_host.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(host, "read", lambda want: replace(READY, active=next(states)))
    assert [host.settled(WANT, 1.0).phase] == phases


def test_a_host_without_systemd_reads_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_host, "PATH", str(tmp_path))
    assert unit_host.Systemd().read(at(tmp_path)).phase == "absent"
