"""Record, unit and secrets of long work; a fake service manager that really runs the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent import work as fleet_agent_work
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import sha256
from ansible_collections.canvas.fleet.plugins.module_utils.system.units import UnitState
from ansible_collections.canvas.fleet.plugins.module_utils.work import entry as work_main
from ansible_collections.canvas.fleet.plugins.module_utils.work import runner as host_work
from ansible_collections.canvas.fleet.plugins.module_utils.work.runner import JobRunner, JobSpec

from tests.unit.support.accounts import give
from tests.unit.support.places import ROOT


class FakeUnits:
    """Remembers what was asked; a started unit runs until end() or kill()."""

    def __init__(self) -> None:
        self.now = UnitState()
        self.started: list[tuple[str, Sequence[str], Sequence[str]]] = []
        self.stopped = 0

    def state(self, unit: str) -> UnitState:
        return self.now

    def start(self, unit: str, properties: Sequence[str], argv: Sequence[str]) -> None:
        self.started.append((unit, properties, argv))
        self.now = UnitState("active")

    def stop(self, unit: str) -> None:
        self.stopped += 1
        self.now = UnitState()

    def forget(self, unit: str) -> None:
        self.now = UnitState()

    def last_lines(self, unit: str) -> list[str]:
        return ["from the journal"]

    def end(self) -> None:
        """The program of the unit, to its end, in a process of its own as on a host."""
        done = subprocess.run(self.started[-1][2], check=False)
        self.now = UnitState("failed" if done.returncode else "inactive", "exit-code" if done.returncode else "success")

    def kill(self, result: str = "signal") -> None:
        self.now = UnitState("failed", result)


@pytest.fixture
def units() -> FakeUnits:
    return FakeUnits()


@pytest.fixture
def job_runner(tmp_path: Path, units: FakeUnits) -> JobRunner:
    return JobRunner(tmp_path / "state", "weights", units, tmp_path / "run")


@pytest.fixture
def order() -> JobSpec:
    # The worker fleet_agent refuses this spec at its first look: a small work with a certain end.
    return JobSpec("weights", "fleet_agent", {"n": 1}, user_name(), sys.executable, "t1", {"token": "s3cr3t"})


def user_name() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def files_with(text: str, folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_the_work_starts_as_its_user_from_the_copied_code(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec
) -> None:
    answer = job_runner.started(order)
    assert (answer["phase"], answer["started"]) == ("running", True)
    unit, properties, argv = units.started[0]
    assert unit == "canvas-work-weights"
    assert f"User={order.user}" in properties
    assert argv[0] == order.python
    assert "work/entry.py" in "".join(zipfile.ZipFile(argv[1]).namelist())


@pytest.mark.parametrize("name", ["result.json", "progress.json", "log"])
def test_a_folder_that_the_account_made_in_the_place_of_a_record_stops_no_work(
    job_runner: JobRunner, order: JobSpec, tmp_path: Path, name: str
) -> None:
    (tmp_path / "state/work/weights/own" / name / "deep").mkdir(parents=True)
    assert job_runner.started(order)["started"]


def test_the_way_to_the_work_is_open_although_an_earlier_converge_closed_it(
    job_runner: JobRunner, order: JobSpec, tmp_path: Path
) -> None:
    folders = [tmp_path / "state", tmp_path / "state" / "work", tmp_path / "run"]
    for folder in folders:
        folder.mkdir(mode=0o750)
    job_runner.started(order)
    assert [oct(folder.stat().st_mode & 0o777) for folder in folders] == ["0o755"] * 3


def test_a_secret_is_in_the_private_file_alone(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec, tmp_path: Path
) -> None:
    job_runner.started(order)
    assert files_with("s3cr3t", tmp_path) == ["private.json"]
    assert (tmp_path / "run" / "weights" / "private.json").stat().st_mode & 0o777 == 0o600
    assert "s3cr3t" not in str(units.started)


def test_a_secret_is_nowhere_after_the_work_has_read_it(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec, tmp_path: Path
) -> None:
    job_runner.started(order)
    units.end()
    assert files_with("s3cr3t", tmp_path) == []


def test_a_secret_is_nowhere_after_the_work_was_killed_unread(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec, tmp_path: Path
) -> None:
    job_runner.started(order)
    units.kill()
    job_runner.polled(order.digest)
    assert files_with("s3cr3t", tmp_path) == []


def test_the_same_work_is_attached_to(job_runner: JobRunner, units: FakeUnits, order: JobSpec) -> None:
    job_runner.started(order)
    again = job_runner.started(replace(order, request_id="t2", secrets={"token": "another"}))
    assert (again["started"], len(units.started), units.stopped) == (False, 1, 0)


def test_other_work_under_the_name_is_stopped_first(job_runner: JobRunner, units: FakeUnits, order: JobSpec) -> None:
    job_runner.started(order)
    other = replace(order, spec={"n": 2})
    assert job_runner.started(other)["started"] is True
    assert (len(units.started), units.stopped) == (2, 1)
    assert job_runner.polled(order.digest)["phase"] == "replaced"
    assert job_runner.polled(other.digest)["phase"] == "running"


def test_an_unexpected_error_comes_back_with_its_log(job_runner: JobRunner, units: FakeUnits, order: JobSpec) -> None:
    job_runner.started(order)
    units.end()
    answer = job_runner.polled(order.digest)
    assert answer["phase"] == "ended"
    assert answer["result"]["unexpected"] is True
    assert "KeyError" in answer["result"]["error"]["message"]
    assert any("Traceback" in line for line in answer["log"])


LEAK = """
import os, subprocess, sys
from pathlib import Path
from ansible_collections.canvas.fleet.plugins.module_utils.work import entry

class Leaky:
    @staticmethod
    def work(spec, progress):
        progress(1, 2, "B", f"with {spec['token']}")
        print("curl", spec["token"], "\\x1b[2J\\udc80")
        subprocess.run(["echo", f"https://me:{spec['token']}@host/"], check=True)
        os.write(2, spec["token"].encode())
        raise ValueError(f"illegal header {spec['token']!r}")

entry.worker = lambda name: Leaky
sys.exit(entry.main(sys.argv[1:]))
"""


def test_a_work_that_prints_its_secret_leaves_none(tmp_path: Path) -> None:
    """In its log, its programs' output, its progress, its result, and what comes of them."""
    (tmp_path / "own").mkdir()
    (tmp_path / "spec.json").write_text(json.dumps({"worker": "x", "spec": {}, "digest": "d", "request_id": "r"}))
    token = "s3cr3t-wörd"  # noqa: S105
    private = {"secrets": {"token": token}, "environment": {}}
    (tmp_path / "private.json").write_text(json.dumps(private))
    argv = [sys.executable, "-c", LEAK, tmp_path, tmp_path / "private.json"]
    home = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    done = subprocess.run(argv, capture_output=True, check=False, text=True, env=home)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    for part in (token, "s3cr3t", "wörd", r"w\u00f6rd"):
        assert files_with(part, tmp_path) == []
    log = (tmp_path / "own" / "log").read_text()
    assert r"curl ******** \x1b[2J" in log
    assert "ValueError: illegal header '********'" in log
    assert json.loads((tmp_path / "own" / "result.json").read_text())["error"]["message"].startswith(
        "ValueError: illegal"
    )


def test_a_call_that_is_repeated_after_a_lost_answer_does_not_start_again(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec
) -> None:
    job_runner.started(order)
    units.end()
    assert job_runner.started(order)["started"] is False
    assert job_runner.started(replace(order, request_id="t2"))["started"] is True


@pytest.mark.parametrize("result", ["signal", "oom-kill", "success"])
def test_a_unit_that_is_gone_without_a_result_did_not_finish(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec, result: str
) -> None:
    job_runner.started(order)
    units.kill(result)
    answer = job_runner.polled(order.digest)
    assert (answer["phase"], answer["unit_result"], answer["log"]) == ("killed", result, ["from the journal"])
    assert job_runner.started(order)["started"] is True


def test_the_result_of_an_earlier_run_is_not_taken_for_this_one(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec
) -> None:
    job_runner.started(order)
    units.end()
    job_runner.started(replace(order, request_id="t2"))
    units.kill()
    assert job_runner.polled(order.digest)["phase"] == "killed"


def test_a_link_laid_by_the_user_is_neither_read_nor_written(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text('{"digest": "x"}\nroot:secret\n')
    job_runner.started(order)
    record = tmp_path / "state" / "work" / "weights"
    units.kill()
    for name in ("log", "result.json", "progress.json"):
        (record / "own" / name).unlink(missing_ok=True)
        (record / "own" / name).symlink_to(precious)
    seen = job_runner.polled("")
    assert seen["phase"] == "killed"
    assert "root:secret" not in str(seen)
    job_runner.started(order)
    assert precious.read_text() == '{"digest": "x"}\nroot:secret\n'


def test_folders_are_made_where_they_are_absent_and_kept_where_not(
    job_runner: JobRunner, order: JobSpec, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o711)
    job_runner.started(replace(order, folders=(str(mine), str(tmp_path / "a" / "b"))))
    assert mine.stat().st_mode & 0o777 == 0o711
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"user": "nobody-of-that-name"}, "does not exist on this host", id="no such account"),
        pytest.param({"python": "/no/python"}, "interpreter of the work is not there", id="no such interpreter"),
        pytest.param({"folders": ("/etc/hostname",)}, "a folder is needed here", id="a file where a folder is wanted"),
    ],
)
def test_what_cannot_start_is_refused_before_the_unit(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(FleetError, match=told):
        job_runner.started(replace(order, **change))
    assert units.started == []


@pytest.mark.parametrize("name", ["", "../x", "A", "a b", "-a"])
def test_a_name_that_is_no_units_name_is_refused(tmp_path: Path, units: FakeUnits, name: str) -> None:
    with pytest.raises(FleetError, match="unit's name"):
        JobRunner(tmp_path, name, units)


def test_absent_stops_the_work_and_takes_its_record_away(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec, tmp_path: Path
) -> None:
    assert job_runner.absent(check=False) is False
    job_runner.started(order)
    assert job_runner.absent(check=True) is True
    assert units.now.runs
    assert job_runner.absent(check=False) is True
    assert not units.now.runs
    assert not (tmp_path / "state" / "work" / "weights").exists()


def test_a_fleet_error_keeps_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
        raise FleetError("no", variable="v", found="f", remedy="r")

    monkeypatch.setattr(fleet_agent_work, "work", refuse)
    result = work_main.outcome("fleet_agent", {}, Progress())
    assert result == {
        "ok": False,
        "error": {"message": "no", "variable": "v", "found": "f", "remedy": "r"},
        "unexpected": False,
    }


def test_a_worker_that_nobody_knows_is_told(tmp_path: Path) -> None:
    assert "no worker named 'x'" in work_main.outcome("x", {}, Progress())["error"]["message"]


def test_the_hosts_store_is_named_for_clients_that_bring_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store.crt"
    store.write_text("")
    monkeypatch.setattr(host_work, "SYSTEM_CA", (str(tmp_path / "none"), str(store)))
    assert host_work.work_environment({"A": "b"}, system_ca=False) == {"A": "b"}
    trusting = host_work.work_environment({"PIP_CERT": "/mine"}, system_ca=True)
    assert (trusting["SSL_CERT_FILE"], trusting["PIP_CERT"]) == (str(store), "/mine")


def test_the_record_is_roots_and_the_user_has_a_folder_of_its_own_in_it(
    job_runner: JobRunner, order: JobSpec, tmp_path: Path
) -> None:
    job_runner.started(order)
    record = tmp_path / "state" / "work" / "weights"
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (record, *record.iterdir())}
    assert modes == {"weights": "0o755", "own": "0o700", "payload.zip": "0o644", "spec.json": "0o644"}
    assert json.loads((record / "spec.json").read_text())["digest"] == order.digest


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders to an account")
def test_a_record_that_the_account_owns_is_not_believed_and_goes(
    job_runner: JobRunner, units: FakeUnits, order: JobSpec, tmp_path: Path
) -> None:
    """As version 0.1 made it: the account could write any result, and any spec to it."""
    record = tmp_path / "state" / "work" / "weights"
    record.mkdir(parents=True)
    poison = {"digest": order.digest, "request_id": order.request_id, "ok": True, "result": {"add_host": "evil"}}
    for name in ("spec.json", "result.json", "own"):
        path = record / name
        path.mkdir() if name == "own" else path.write_text(json.dumps({**poison, "worker": "weights", "spec": {}}))
    (record / "own/result.json").write_text(json.dumps(poison))
    for path in (*record.rglob("*"), record):
        give(path)
    assert job_runner.polled(order.digest)["phase"] == "none"
    assert "evil" not in str(job_runner.started(order))
    assert (record.stat().st_uid, units.started != []) == (0, True)
    assert not (record / "own/result.json").exists()


def test_a_work_of_the_account_keeps_its_record_in_its_own_folder_and_root_takes_it(
    job_runner: JobRunner, units: FakeUnits, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "a").write_text("abc")
    spec = {
        "fleet_state_dir": str(tmp_path / "state"),
        "weights_dir": str(model),
        "weights_files": ["a"],
        "weights_repo": "o/n",
        "weights_revision": "c" * 40,
        "weights_sha256": {"a": sha256("abc")},
        "weights_endpoint": "http://nowhere",
        "weights_stall_timeout": 1,
        "weights_parameters": 0,
        "weights_bytes": 1,
    }
    job = JobSpec("weights", "weights", spec, user_name(), sys.executable, "t1")
    job_runner.started(job)
    units.end()
    assert (tmp_path / "state/work/weights/own/weights").is_dir()
    assert list((tmp_path / "state/weights").iterdir()) == []
    answer = job_runner.polled(job.digest)
    assert answer["result"]["ok"], answer
    (record,) = (tmp_path / "state/weights").iterdir()
    assert json.loads(record.read_text())["files"]["a"]["sha256"] == sha256("abc")
