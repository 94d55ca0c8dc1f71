"""Usual slips of a first hour, through ansible-playbook itself: what a user reads, and the return code.

No host is needed: a slip is found before one is asked, or at a port of this machine that is closed. What only a real
host answers was recorded on one by tests/chaos/reach.py; its words are judged here.
The table that results lies in reports/slips.md.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import Facts
from ansible_collections.canvas.fleet.plugins.module_utils.plan.compare import same_machine
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import HostSeen
from ansible_collections.canvas.fleet.plugins.module_utils.plan.unreached import unreached

from demo.steps import CHECKOUT, REPORTS
from demo.surroundings import enter
from tests.unit.support.observed import bare

RESERVED = socket.socket()  # bound, so that nobody else takes the port, and not listening: it refuses
RESERVED.bind(("", 0))
CLOSED = {"ansible_host": "127.0.0.1", "ansible_port": RESERVED.getsockname()[1], "ansible_user": "nobody"}
OTHERS = [{**CLOSED, "ansible_host": f"127.0.0.{number}"} for number in (2, 3)]
NAMELESS = "n" * 64  # longer than DNS allows, so no server is asked: one may answer for all names, or for none
PAIR = {"hosts": dict(zip(("b0", "b1"), OTHERS, strict=True)), "vars": {"training_run": "b"}}
ODD = {"hosts": {"b0": {}}, "vars": {"training_run": "c"}}
TWO_RUNS = {"trainers": {"hosts": {"a": CLOSED}, "children": {"pair": PAIR}}}


def one(**variables: Any) -> dict[str, Any]:
    """An inventory with one host that has these variables."""
    return {"trainers": {"hosts": {"a": {**CLOSED, **variables}}}}


@dataclass(frozen=True)
class Slip:
    """A call, and the words that have to come: a code, or a part of a line."""

    name: str
    words: tuple[str, ...]
    code: int = 2
    inventory: Any = field(default_factory=one)
    arguments: tuple[str, ...] = ()
    playbook: str = "playbooks/plan.yml"
    absent: tuple[str, ...] = ()


def unknown(kind: str, **meant: str) -> Slip:
    """Names in the inventory that no role knows, each with the one that is meant."""
    words = [f"write {known} instead of {name}" for name, known in meant.items()]
    return Slip(kind, ("VARIABLE_UNKNOWN", *words), inventory=one(**dict.fromkeys(meant, "x")))


SLIPS = (
    Slip("no `-i`", ("NO_HOSTS", "-i inventory/mine"), inventory=None),
    Slip("a path that is not there", ("NO_HOSTS", "nowhere"), inventory=None, arguments=("-i", "nowhere")),
    Slip("a group of another name", ("NO_HOSTS", "1 host in gpus"), inventory={"gpus": {"hosts": {"a": CLOSED}}}),
    Slip("hosts without a group", ("NO_HOSTS", "1 host in no group"), inventory={"ungrouped": {"hosts": {"a": {}}}}),
    Slip("`site.yml`, a group of another name", ("NO_HOSTS",), inventory={"gpus": {"hosts": {"a": CLOSED}}},
         playbook="site.yml"),
    Slip("`--limit` of a host that does not train", ("LIMIT_EMPTY",), arguments=("--limit", "m"),
         inventory={**one(), "monitors": {"hosts": {"m": {}}}}),
    Slip("`--limit` of a name that is not there", ("no hosts to target",), 1, arguments=("--limit", "gpu-99")),
    Slip("`--limit` that splits a run", ("HOST_MISSING", "left out by --limit", "2 not judged"), inventory=TWO_RUNS,
         arguments=("--limit", "b0"), absent=("in sync, 3",)),
    Slip("`--limit` of one run among two", ("SSH_REFUSED", "outside of --limit: b", "1 host, 1 run"),
         inventory=TWO_RUNS, arguments=("--limit", "a"), absent=("HOST_MISSING", "world size")),
    Slip("`--tags` misspelt", ("TAG_UNKNOWN", "weights?"), arguments=("--tags", "wieghts"), playbook="site.yml"),
    Slip("`--skip-tags` misspelt", ("TAG_UNKNOWN", "train?"), arguments=("--skip-tags", "trian"), playbook="site.yml"),
    Slip("`--tags` for a playbook without tags", ("TAG_UNKNOWN",), arguments=("--tags", "weights"),
         playbook="playbooks/stop.yml"),
    unknown("names of the guide's script", MODEL_PATH="weights_dir", WANDB_ENABLE="run_config_enable_wandb",
            SAVE_EVERY="run_config_save_every"),
    unknown("a flag, and misspelt names", total_steps="run_config_total_steps", training_lr="run_config_lr",
            dataset_path="dataset_train", traning_run="training_run"),
    Slip("a csv as data", ("DATASET_NOT_PARQUET", "to_parquet"), inventory=one(dataset_train="train.csv")),
    Slip("a host in two groups with a run each", ("RUN_AMBIGUOUS", "b by the group pair", "c by the group odd"),
         inventory={"trainers": {"children": {"pair": PAIR, "odd": ODD}}}),
    Slip("one machine under two names, by its address", ("MACHINE_TWICE", "a of run a is the same machine"),
         inventory={"trainers": {"hosts": {"a": CLOSED, "b": CLOSED}}}),
    Slip("`restore.yml` with two runs", ("RUNS_SEVERAL", "a, b", "--limit a"), inventory=TWO_RUNS,
         playbook="playbooks/restore.yml", arguments=("-e", "training_restore_step=40"), absent=("Observe",)),
    Slip("`fetch.yml` with two runs", ("RUNS_SEVERAL", "a, b", "--limit a"), inventory=TWO_RUNS,
         playbook="playbooks/fetch.yml", absent=("Observe",)),
    Slip("a word for a number", ("VARIABLE_INVALID", "many"), inventory=one(run_config_total_steps="many")),
    Slip("a path of the home folder", ("VARIABLE_INVALID", "full path"), inventory=one(weights_dir="~/m")),
    Slip("nobody listens", ("SSH_REFUSED", "ansible_port"), playbook="site.yml"),
    Slip("a name without an address", ("SSH_NAME_UNKNOWN", "ansible_host"), inventory=one(ansible_host=NAMELESS)),
    Slip("`status.yml` where nobody listens", ("SSH_REFUSED", "no answer", "No host answered"),
         playbook="playbooks/status.yml"),
    *(Slip(f"`{verb}.yml` where nobody listens", ("Connection refused",), 4, playbook=f"playbooks/{verb}.yml",
           arguments=("-e", "fleet_reconnect_timeout=1")) for verb in ("stop", "logs", "fetch", "merge", "teardown")),
)  # fmt: skip


ANSWERS = yaml.safe_load((CHECKOUT / "tests/fixtures/ansible/unreached.yml").read_text())
# A slip of the first hour, and the record of it.
RECORDED = {
    name: judged
    for name, record in {
        "an unknown host key": "a host key that is not known",
        "a changed host key": "another host key than the known one",
        "permission denied": "a key that opens nothing",
        "a sudo password that is missing": "sudo that asks for a password",
        "a wrong sudo password": "a wrong password for sudo",
        "sudo without a terminal": "sudo that wants a terminal",
        "no Python": "no Python at all",
        "a Python that is too old": "Python 3.6",
        "a remote folder that cannot be written": "Ansible's own folder is another account's",
    }.items()
    if (judged := unreached(ANSWERS[record]))
}


@dataclass(frozen=True)
class Answer:
    code: int
    text: str


def play(folder: Path, slip: Slip) -> Answer:
    arguments = list(slip.arguments)
    if slip.inventory is not None:
        folder.mkdir()
        (folder / "hosts.yml").write_text(yaml.safe_dump(slip.inventory))
        arguments += ["-i", str(folder / "hosts.yml")]
    done = subprocess.run(
        ["ansible-playbook", *arguments, slip.playbook], capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    enter()
    folder = tmp_path_factory.mktemp("slips")
    with ThreadPoolExecutor(2) as pool:
        found = [*pool.map(lambda pair: play(folder / str(pair[0]), pair[1]), enumerate(SLIPS))]
    made = dict(zip((slip.name for slip in SLIPS), found, strict=True))
    REPORTS.mkdir(exist_ok=True)
    rows = [f"| {slip.name} | {'; '.join(told(made[slip.name].text))} | {made[slip.name].code} |" for slip in SLIPS]
    rows += [f"| {name}, on a real host | {found.code}: {found.found} | 2 |" for name, found in RECORDED.items()]
    rows += [f"| one machine under two names, by what it is | {one.code}: {one.found} | 2 |" for one in twins()]
    rows += ["| Ctrl-C | Interrupted, and what goes on on the hosts | 99 |"]
    (REPORTS / "slips.md").write_text("\n".join(["| slip | words | rc |", "| --- | --- | --- |", *rows]) + "\n")
    return made


def twins() -> list[Finding]:
    """Two names whose hosts answer with one identity."""
    seen = bare(Facts("3.11", 1, identity="one"))
    return same_machine([HostSeen(name, name, observation=seen) for name in ("a", "b")])


def told(text: str) -> Sequence[str]:
    """The findings with what was found, or Ansible's own words."""
    block = r"^(?:error|warning) +([A-Z_]+).*\n(?:  variable .*\n)?  found +(.*(?:\n {12}.*)*)"
    found = re.findall(block, text, re.MULTILINE)
    return [f"{code}: {' '.join(words.split())}" for code, words in found] or re.findall(r"\[ERROR\]: (.*)", text)


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.name)
def test_a_slip_is_answered_with_cause_and_return_code(slip: Slip, answers: dict[str, Answer]) -> None:
    answer = answers[slip.name]
    joined = " ".join(answer.text.split())
    assert [word for word in slip.words if word not in joined] == [], answer.text
    assert [word for word in slip.absent if word in joined] == [], answer.text
    assert answer.code == slip.code, answer.text
    assert len(answer.text.splitlines()) < 80, "no settings, no traceback"


def test_ctrl_c_says_what_goes_on(tmp_path: Path) -> None:
    """It comes while ssh waits for a server that took the connection and says nothing."""
    enter()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(120)
        there = {"ansible_host": "127.0.0.1", "ansible_port": silent.getsockname()[1]}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(one(**there)))
        with subprocess.Popen(
            ["ansible-playbook", "-i", str(tmp_path / "hosts.yml"), "site.yml"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            start_new_session=True,
        ) as running:  # fmt: skip
            asked = threading.Thread(target=interrupt_when_asked, args=(silent, running.pid))
            asked.start()
            text = running.communicate(timeout=120)[0]
            asked.join()
    assert "Interrupted.\nNo long work was begun on the hosts." in text
    assert "playbooks/stop.yml" in text
    assert running.returncode == 99


def interrupt_when_asked(server: socket.socket, group: int) -> None:
    connection, _ = server.accept()
    os.killpg(group, signal.SIGINT)
    connection.close()


def test_what_a_real_host_answered_has_a_cause_of_its_own() -> None:
    codes = [found.code for found in RECORDED.values()]
    assert len({*codes}) == len(codes) == 9
    assert all(found.refuses and found.remedy for found in RECORDED.values())
    assert [(one.code, one.host) for one in twins()] == [("MACHINE_TWICE", "b")]


def test_the_plan_as_json_is_a_file_for_another_program(tmp_path: Path) -> None:
    enter()
    path = tmp_path / "plan.json"
    slip = Slip("", (), inventory=TWO_RUNS, arguments=("-e", "fleet_plan_format=json", "-e", f"fleet_plan_file={path}"))
    answer = play(tmp_path / "slip", slip)
    assert f"The plan as JSON: {path}" in answer.text
    plan = json.loads(path.read_text())
    assert plan["runs"] == {"a": ["a"], "b": ["b0", "b1"]}
    assert {host: one["state"] for host, one in plan["hosts"].items()} == dict.fromkeys(("a", "b0", "b1"), "no answer")
    jsonschema.validate(plan, json.loads((CHECKOUT / "docs/plan.schema.json").read_text()))


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, False), ({"ANSIBLE_FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False)],
    ids=["a pipe", "colours are forced", "NO_COLOR"],
)
def test_a_pipe_has_no_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    enter()
    for name in ("ANSIBLE_FORCE_COLOR", "ANSIBLE_NOCOLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    text = play(tmp_path / "slip", Slip("", (), arguments=("--tags", "x"))).text
    assert ("\x1b[0;31merror    TAG_UNKNOWN" in text) is coloured
    assert ("\x1b" in text) is coloured
    assert max(map(len, text.split("PLAY RECAP")[0].splitlines())) <= 80 or coloured, "as wide as Ansible's own lines"
