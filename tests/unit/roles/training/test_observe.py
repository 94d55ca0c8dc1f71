"""The role `training`: observation and report of a training."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import examined
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import apply as training_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import observe as training
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import unit_host
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.have import Have
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.report import report_of
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from ansible_collections.canvas.fleet.plugins.module_utils.system import units
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.checkpoint import Survey

from tests.unit.support.trainings import READY, RECORDED, RUNS, Dies, at, checkpoint, write
from tests.unit.support.units import WANT
from tests.unit.support.units import want as wanted


def report(have: Have, want: Want) -> Any:
    """As it arrives on the controller."""
    return wire.to_dict(report_of(training.observed(have, want), want))


def test_a_report_can_be_told_whatever_the_names_on_the_host(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode("实验".encode("gbk"))
    odd.mkdir()
    here = wanted(training_results_dir=str(tmp_path), training_checkpoint_dir=str(tmp_path))
    told = report(READY, here)
    json.dumps(told, ensure_ascii=False).encode()
    assert len(told["foreign"]) == 1


def test_checkpoints_that_root_may_not_read_are_read_as_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    flaw = checkpoint(20, "incomplete", flaw="cannot be read: Permission denied")
    denied, readable = examined.Seen(Survey((flaw,))), examined.Seen(Survey((checkpoint(20),)))
    asked = []

    def look(place: Any) -> examined.Seen:
        asked.append(os.geteuid())
        return denied if os.geteuid() == 0 else readable

    os.chown(tmp_path, 12345, 12345)
    monkeypatch.setattr(examined, "look", look)
    found = training._seen(training.Place(str(tmp_path), str(tmp_path / "kept")))
    assert (found, asked) == (readable, [0, 12345])


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
    monkeypatch.setattr(units, "PATH", str(tmp_path))
    found = unit_host.Host().read(at(tmp_path)).strays
    assert found == {f"{tmp_path}/{path}": f"{tmp_path}/{real}" for path, real in strays.items()}


def test_the_report_tells_step_losses_speed_and_weights(tmp_path: Path) -> None:
    want = at(tmp_path)
    write(want, (RECORDED / "cc48f16/resumed.log").read_text())
    told = report(RUNS, want)
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
    assert report(have, want)["weights"] == ""
    Path(want.own, "state.json").write_text(json.dumps({**heard, "invocation": "a1"}))
    log = report(have, want)
    assert (log["weights"], log["total_steps"], log["step"]) == ("loaded", 60, 60)


def test_lines_before_the_recorded_start_are_of_another_start(tmp_path: Path) -> None:
    want = at(tmp_path)
    old = (RECORDED / "cc48f16/finished.log").read_text()
    write(want, old)
    told = report(replace(RUNS, started={"log_bytes": str(len(old.encode()))}), want)
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
    failure = report(have, want)["failure"]
    assert (failure["kind"] if failure else None) == kind


def test_words_that_fit_no_class_are_shown_as_they_are(tmp_path: Path) -> None:
    want = at(tmp_path)
    write(want, "", "/bin/bash: /srv/b/train.sh: No such file or directory\n")
    failure = report(replace(FAILED, status=127), want)["failure"]
    assert failure["line"] == "/bin/bash: /srv/b/train.sh: No such file or directory"


def test_a_start_that_does_not_live_is_an_error_with_the_trainers_words(tmp_path: Path) -> None:
    want, host = at(tmp_path), Dies()
    host.have = replace(READY, text=want.texts.unit, gpu=want.texts.gpu, spec=want.spec())
    write(want, "", (RECORDED / "torchrun-2.13.0/oom.err").read_text())
    with pytest.raises(FleetError) as caught:
        training_apply.converge(host, want, "started", check=False, settle=0)
    assert "GPU_OUT_OF_MEMORY" in str(caught.value)
    assert "CUDA out of memory" in str(caught.value)


def test_the_diff_shows_text_and_manner() -> None:
    done = training_apply.Outcome(("write",), Have(), RUNS)
    texts, manner = training_apply.difference(done, WANT, "started")
    assert (texts["before"], texts["after"]) == ("", WANT.texts.unit)
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
    want = at(tmp_path, run_config_script=str(tmp_path / "train.sh"))
    (tmp_path / "train.sh").write_text("exit 0\n")
    write(want)
    Path(want.record, "started").write_text(f"invocation ab\n{'1' * 64}  {want.script}\n")
    Path(want.record, "ended").write_text("exit-code exited 1\n")
    host = unit_host.Host()
    monkeypatch.setattr(units, "PATH", str(tmp_path))
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
    monkeypatch.setattr(units, "PATH", str(tmp_path))
    want = at(tmp_path)
    Path(want.record).mkdir(parents=True)
    assert unit_host.Host().read(want).others == {}, "its own unit is no other"
    (tmp_path / "training/canvas-training-bolt").mkdir()
    assert unit_host.Host().read(want).others == others
    unit_host.Host().do("disable canvas-training-bolt", want)
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
    host = unit_host.Host(sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(unit_host.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(host, "read", lambda want: replace(READY, active=next(states)))
    assert [host.settled(WANT, 1.0).phase] == phases


def test_a_host_without_systemd_reads_as_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "PATH", str(tmp_path))
    assert unit_host.Host().read(at(tmp_path)).phase == "absent"
