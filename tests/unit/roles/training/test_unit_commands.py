"""The unit's own commands around a training, run as systemd would run them: what they leave in the record."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.files import place_payload
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want

from tests.unit.support import units
from tests.unit.support.accounts import account_folder, plant, secret_file


@pytest.fixture
def want(tmp_path: Path) -> Want:
    places = {"fleet_state_dir": tmp_path / "state 100%", "run_config_script": tmp_path / "train $HOME.sh"}
    made = units.want(**{name: str(path) for name, path in places.items()})
    Path(made.record).mkdir(parents=True)
    Path(made.script).write_text("exec torchrun\n")
    Path(made.spec_path).write_text(made.spec())
    place_payload(made, tmp_path, tmp_path)
    return made


def command(want: Want, key: str) -> list[str]:
    """Arguments of a command of the unit, without prefixes, as systemd.syntax(7) and systemd.service(5) read it."""
    (line,) = re.findall(rf"^{key}=[-+]*(.*)$", want.texts.unit.replace("\\\n", " "), re.MULTILINE)
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]


def run(want: Want, key: str, **environment: str) -> int:
    return subprocess.run(command(want, key), env={**os.environ, **environment}, check=False).returncode


@pytest.mark.parametrize(
    ("result", "finished"),
    [
        pytest.param("success exited 0", True, id="the run is finished"),
        pytest.param("success exited 79", False, id="stopped as asked"),
        pytest.param("exit-code exited 75", False, id="to be tried again"),
        pytest.param("exit-code exited 78", False, id="failed for good"),
        pytest.param("success killed TERM", False, id="a supervisor that was ended"),
        pytest.param("watchdog dumped ABRT", False, id="a hang"),
    ],
)
def test_a_run_that_ended_well_is_marked_and_the_mark_keeps_it_from_another_start(
    want: Want, result: str, finished: bool
) -> None:
    words = dict(zip(("SERVICE_RESULT", "EXIT_CODE", "EXIT_STATUS"), result.split(), strict=True))
    run(want, "ExecStopPost", **words)
    (condition,) = re.findall(r"^ConditionPathExists=!(.*)$", want.texts.unit, re.MULTILINE)
    assert Path(condition.replace("%%", "%")).exists() == finished
    assert Path(want.record, "ended").read_text() == f"{result}\n"


@pytest.mark.parametrize("kind", ["fifo", "device", "endless", "huge", "link to what root alone reads"])
def test_a_start_reads_nothing_through_what_the_account_laid_in_the_scripts_place(
    want: Want, tmp_path: Path, kind: str
) -> None:
    account, secret = account_folder(tmp_path), secret_file(tmp_path)
    script = account / "train.sh"
    {
        "fifo": lambda: os.mkfifo(script),
        "device": lambda: plant(script, "/dev/tty"),
        "endless": lambda: plant(script, "/dev/zero"),
        "huge": lambda: (script.write_text(""), os.truncate(script, 1 << 40)),
        "link to what root alone reads": lambda: plant(script, secret),
    }[kind]()
    spec = {**json.loads(want.spec()), "watched": [str(script), want.spec_path]}
    Path(want.spec_path).write_text(json.dumps(spec))
    begun = time.monotonic()
    assert run(want, "ExecStartPre", INVOCATION_ID="ab12") == 0
    assert time.monotonic() - begun < 10
    started = Path(want.record, "started").read_text()
    assert str(script) not in started
    assert re.search(rf"^[0-9a-f]{{64}}  {re.escape(want.spec_path)}$", started, re.MULTILINE)


def test_a_start_records_what_it_was_made_from_and_forgets_the_last_end(want: Want) -> None:
    Path(want.record, "ended").write_text("exit-code exited 75\n")
    assert run(want, "ExecStartPre", INVOCATION_ID="ab12") == 0
    started = Path(want.record, "started").read_text()
    assert "invocation ab12\n" in started
    assert re.search(rf"^[0-9a-f]{{64}}  {re.escape(want.script)}$", started, re.MULTILINE)
    assert not Path(want.record, "ended").exists()
