"""The unit of a training: its text, and the steps that bring it to a state."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from dataclasses import replace

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import apply as training_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload as supervisor_spec
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import steps as unit
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.have import Have, parse_started
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.steps import steps_to
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.want import Want
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.units import SHAPE, WANT, want

TEXT = WANT.texts.unit
CODE = supervisor_spec.payload()[0]
READY = Have(text=TEXT, gpu=WANT.texts.gpu, spec=WANT.spec(), payloads=(CODE,), record=True, folders=True)
STATES = st.sampled_from(unit.STATES)
HAVES = st.builds(
    Have,
    text=st.sampled_from([None, TEXT, "# Managed by canvas-fleet, older"]),
    gpu=st.sampled_from([None, WANT.texts.gpu]),
    merge=st.sampled_from([None, "# Managed by canvas-fleet, of a run of adapters"]),
    spec=st.sampled_from([None, WANT.spec(), "{}"]),
    payloads=st.sampled_from([(), (CODE,), ("0.pyz",)]),
    load=st.sampled_from(["loaded", "not-found"]),
    active=st.sampled_from(["active", "activating", "inactive", "failed", "deactivating"]),
    sub=st.sampled_from(["running", "auto-restart"]),
    enabled=st.booleans(),
    reload=st.booleans(),
    finished=st.booleans(),
    record=st.booleans(),
    folders=st.booleans(),
    others=st.sampled_from([{}, {"canvas-training-bolt": "inactive"}, {"canvas-training-bolt": "failed"}]),
)


class Host:
    """A host in memory that dies before its `die_after`th step. `ends`: a started training ends at once, with 0."""

    def __init__(self, have: Have, die_after: int = 99, ends: bool = False) -> None:
        self.have, self.left, self.ends = self.possible(have), die_after, ends
        self.done: list[str] = []

    @staticmethod
    def possible(have: Have) -> Have:
        """Without states that cannot be: what runs is loaded and has a text, a finished run does not run."""
        if have.text is None or have.load == "not-found":
            have = replace(have, active="inactive", enabled=have.enabled and have.text is not None)
            have = replace(have, load="not-found" if have.text is None else have.load)
        if have.finished and have.active != "inactive":
            have = replace(have, active="inactive")
        return replace(have, record=have.record or have.folders or have.finished)

    def read(self, want: Want) -> Have:
        return self.have

    def settled(self, want: Want, seconds: float) -> Have:
        return self.have

    def stopped(self, want: Want) -> None:
        assert self.have.active not in ("active", "deactivating")

    def do(self, step: str, want: Want) -> None:
        if self.left == 0:
            raise ConnectionError
        self.left -= 1
        self.done.append(step)
        have = self.have
        if step == "disable canvas-training-bolt":
            self.have = replace(have, others={})
            return
        self.have = {
            "folders": lambda: replace(have, folders=True, record=True),
            "payload": lambda: replace(have, payloads=(supervisor_spec.payload()[0],)),
            "spec": lambda: replace(have, spec=want.spec()),
            "secret": lambda: replace(have, key_id=want.key_id),
            "write": lambda: replace(
                have, text=want.texts.unit, gpu=want.texts.gpu, merge=want.texts.merge or None, reload=True
            ),
            "reload": lambda: replace(have, reload=False, load="loaded" if have.text else "not-found"),
            "enable": lambda: replace(have, enabled=True),
            "disable": lambda: replace(have, enabled=False),
            "stop": lambda: replace(have, active="inactive"),
            "merge": lambda: replace(have, merging="active"),
            "unfinish": lambda: replace(have, finished=False),
            "start": self.started,
            "remove": lambda: replace(have, text=None, gpu=None, merge=None, enabled=False),
            "forget": lambda: replace(have, record=False, folders=False, finished=False, spec=None),
        }[step]()

    def started(self) -> Have:
        assert self.have.load == "loaded"
        assert not self.have.reload
        assert self.have.folders
        assert self.have.spec == WANT.spec()
        assert CODE in self.have.payloads
        if self.have.finished:  # the unit's own condition
            return self.have
        if self.ends:
            return replace(self.have, active="inactive", finished=True)
        return replace(self.have, active="active", sub="running")


@given(have=HAVES, state=STATES, die_after=st.integers(0, 8), ends=st.booleans())
def test_a_cut_anywhere_then_a_second_run_converges(have: Have, state: str, die_after: int, ends: bool) -> None:
    host = Host(have, die_after, ends)
    with suppress(ConnectionError):
        training_apply.converge(host, WANT, state, check=False, settle=0)
    host.left = 99
    training_apply.converge(host, WANT, state, check=False, settle=0)
    again = "started" if state == "restarted" else state
    assert not training_apply.converge(host, WANT, again, check=False, settle=0).steps


@given(have=HAVES, state=st.sampled_from(["started", "present"]))
def test_a_running_training_is_never_stopped_or_started_again(have: Have, state: str) -> None:
    host = Host(replace(have, text=have.text or TEXT, load="loaded", active="active", finished=False))
    training_apply.converge(host, WANT, state, check=False, settle=0)
    assert not {"stop", "start", "unfinish"} & set(host.done)
    assert host.have.text == TEXT


@given(have=HAVES)
def test_a_finished_run_stays_finished(have: Have) -> None:
    host = Host(replace(have, finished=True, active="inactive"))
    training_apply.converge(host, WANT, "started", check=False, settle=0)
    assert "start" not in host.done
    assert host.have.finished


@given(have=HAVES, state=STATES)
def test_a_dry_run_says_what_a_run_does_and_does_nothing(have: Have, state: str) -> None:
    dry, real = Host(have), Host(have)
    said = training_apply.converge(dry, WANT, state, check=True, settle=0).steps
    training_apply.converge(real, WANT, state, check=False, settle=0)
    assert dry.done == []
    assert list(said) == real.done


@pytest.mark.parametrize(
    ("state", "have", "steps"),
    [
        ("started", Have(), ["folders", "payload", "spec", "write", "reload", "enable", "start"]),
        ("stopped", Have(), ["folders", "payload", "spec", "write", "reload"]),
        ("present", Have(), ["folders", "payload", "spec", "write", "reload"]),
        ("absent", Have(), []),
        ("restarted", Have(), ["folders", "payload", "spec", "write", "reload", "enable", "start"]),
    ],
)
def test_a_bare_host(state: str, have: Have, steps: list[str]) -> None:
    assert steps_to(have, WANT, state) == steps


RUNS = replace(READY, load="loaded", active="active", sub="running", enabled=True)


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        ("started", []),
        ("present", []),
        ("stopped", ["disable", "stop"]),
        ("restarted", ["stop", "start"]),
        ("absent", ["stop", "disable", "remove", "reload", "forget"]),
    ],
)
def test_a_running_training(state: str, steps: list[str]) -> None:
    assert steps_to(RUNS, WANT, state) == steps


def test_a_finished_run_is_trained_on_only_when_a_restart_is_asked_for() -> None:
    have = replace(RUNS, active="inactive", finished=True)
    assert steps_to(have, WANT, "started") == []
    assert steps_to(have, WANT, "restarted") == ["unfinish", "start"]


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        ("started", ["disable canvas-training-bolt", "start"]),
        ("restarted", ["disable canvas-training-bolt", "start"]),
        ("stopped", ["disable"]),
        ("present", []),
    ],
)
def test_the_unit_of_an_earlier_run_would_start_the_new_ones_script(state: str, steps: list[str]) -> None:
    have = replace(RUNS, active="inactive", others={"canvas-training-bolt": "inactive"})
    assert steps_to(have, WANT, state) == steps
    finished = replace(have, finished=True)
    assert steps_to(finished, WANT, "started") == ["disable canvas-training-bolt"]


@pytest.mark.parametrize("check", [False, True], ids=["converge", "dry run"])
@pytest.mark.parametrize("active", ["active", "activating", "deactivating"])
def test_a_start_beside_another_run_is_refused(check: bool, active: str) -> None:
    host = Host(replace(READY, load="loaded", others={"canvas-training-bolt": active}))
    with pytest.raises(FleetError) as caught:
        training_apply.converge(host, WANT, "started", check, settle=0)
    assert caught.value.found == f"canvas-training-bolt is {active}"
    assert "disable --now canvas-training-bolt" in caught.value.remedy
    assert host.done == []
    for state in ("stopped", "present", "absent"):
        training_apply.converge(host, WANT, state, check, settle=0)


def test_a_failed_training_is_started_again() -> None:
    assert steps_to(replace(RUNS, active="failed"), WANT, "started") == ["start"]
    assert steps_to(replace(RUNS, active="activating", sub="auto-restart"), WANT, "started") == []


@pytest.mark.parametrize(
    ("have", "phase"),
    [
        (RUNS, "running"),
        (replace(RUNS, active="activating", sub="start-pre"), "running"),
        (replace(RUNS, active="activating", sub="auto-restart"), "restarting"),
        (replace(RUNS, active="deactivating"), "stopping"),
        (replace(RUNS, active="failed"), "failed"),
        (replace(RUNS, active="inactive"), "stopped"),
        (replace(RUNS, active="inactive", finished=True), "finished"),
        (Have(), "absent"),
    ],
)
def test_the_phase_is_one_word(have: Have, phase: str) -> None:
    assert have.phase == phase


def test_what_a_start_read_is_compared_with_what_lies_there_now() -> None:
    was = {"invocation": "1f", "/a": "1" * 64, "/b": "2" * 64}
    assert Have(started=was, digests={"/a": "1" * 64, "/b": "3" * 64, "/new": "4" * 64}).older() == ["/b"]
    assert Have(digests={"/a": "1" * 64}).older() == [], "a start that left no record is not judged"


def test_a_start_is_not_judged_by_the_record_of_the_start_before() -> None:
    """On a slow host a restarted unit is seen before it wrote its own record; it was stopped once more, or refused."""
    was = {"/a": "1" * 64, "invocation": "e" * 32}
    have = Have(active="activating", started=was, digests={"/a": "2" * 64})
    assert replace(have, invocation="e" * 32).older() == ["/a"]
    assert replace(have, invocation="f" * 32).older() == []


def test_the_record_of_a_start_is_read() -> None:
    text = f"invocation 1f\nlog_bytes 12\n{'a' * 64}  /srv/b/train.sh\n\\{'b' * 64}  /srv/x\\ny\nrubbish\n"
    seen = parse_started(text)
    assert seen["invocation"] == "1f"
    assert seen["log_bytes"] == "12"
    assert seen["/srv/b/train.sh"] == "a" * 64


def test_the_key_is_named_only_when_it_is_used() -> None:
    assert "LoadCredential" not in TEXT
    named = "LoadCredential=wandb_api_key:/var/lib/canvas-fleet/secrets/wandb_api_key\n"
    assert named in want(run_config_enable_wandb=True).texts.unit


def test_no_restarts_is_no() -> None:
    assert "Restart=no\n" in want(training_restarts=0).texts.unit
    assert "Restart=on-failure\n" in TEXT


def test_the_same_settings_give_the_same_bytes() -> None:
    assert WANT.texts.unit == TEXT


def test_each_setting_is_named_once() -> None:
    names = [line.split("=", 1)[0] for line in TEXT.splitlines() if "=" in line and not line.startswith((" ", "#"))]
    assert {name for name in names if names.count(name) > 1} == {"DeviceAllow", "SystemCallFilter"}


@pytest.mark.parametrize(
    "change",
    [
        {"training_unit": "a b"},
        {"training_unit": "../x"},
        {"training_unit": ""},
        {"run_config_script": "train.sh"},
        {"training_results_dir": "/srv/a\nExecStart=/bin/true"},
        {"canvas_code_dir": ""},
        {"weights_dir": "/models\nExecStart=/bin/true"},
    ],
)
def test_what_a_unit_cannot_hold_is_refused_with_its_variable(change: dict[str, str]) -> None:
    with pytest.raises(FleetError) as caught:
        want(**change)
    assert caught.value.variable in (*change, "training_run")


PATHS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=30)


@given(tail=PATHS)
def test_any_path_reaches_the_program_as_it_is(tail: str) -> None:
    """Read back by systemd's rules: quotes, backslashes, %% and $$ (systemd.service(5), systemd.syntax(7))."""
    text = want(fleet_state_dir=f"/var/lib/{tail}").texts.unit
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    program, option, rest = line.partition("=")[2].split(" ", 2)
    words = re.fullmatch(r"""(".*?[^\\]"|\S+) (".*"|\S+)""", rest)
    assert words
    code, spec = words.groups()
    assert (program, option) == ("/usr/bin/python3", "-I")
    assert unquoted(code).endswith(".pyz")
    assert unquoted(spec) == f"/var/lib/{tail}/training/canvas-training-atlas/spec.json"


@given(tail=PATHS)
def test_any_path_reaches_the_shell_as_it_is(tail: str) -> None:
    text = want(fleet_state_dir=f"/srv/{tail}").texts.unit.replace("; \\\n    ", "; ")
    line = next(line for line in text.splitlines() if line.startswith("ExecStopPost="))
    script = unquoted(line.split(" -c ", 1)[1])
    assert f"/srv/{tail}/training/canvas-training-atlas" in shlex.split(script)


def unquoted(word: str) -> str:
    if word.startswith('"'):
        assert word.endswith('"')
        word = word[1:-1].replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\")
    else:
        assert not set(word) & set(" \"'\\")
    assert word.replace("%%", "").count("%") == 0
    assert word.replace("$$", "").count("$") == 0
    return word.replace("%%", "%").replace("$$", "$")


# the secret of a run

PAIR = replace(SHAPE, hosts=("atlas", "bolt"), new_secret=True)
TWO = want(PAIR)


@pytest.mark.parametrize(
    ("wanted", "held", "placed"),
    [
        (TWO, "ab", True),
        (replace(TWO, given_key="cd"), "ab", True),
        (replace(TWO, given_key="ab"), "ab", False),
        (want(replace(PAIR, new_secret=False)), "ab", False),
        (want(PAIR, training_peer_port=0), "", False),
        (want(replace(SHAPE, new_secret=True)), "", False),
    ],
)
def test_a_secret_is_placed_when_it_is_another(wanted: Want, held: str, placed: bool) -> None:
    runs = replace(READY, active="active", enabled=True, load="loaded")
    have = replace(runs, text=wanted.texts.unit, spec=wanted.spec(), key_id=held)
    assert steps_to(have, wanted, "started") == ["secret"] * placed
    assert "secret" not in steps_to(have, wanted, "absent")


def test_only_a_unit_with_peers_is_given_the_credential() -> None:
    line = f"LoadCredential=peer_secret:{WANT.record}/peer-secret"
    assert line in TWO.texts.unit
    assert line not in WANT.texts.unit
    assert line not in want(PAIR, training_peer_port=0).texts.unit


def test_the_secret_lies_in_no_text_of_the_unit() -> None:
    assert TWO.key_id not in TWO.spec().split()
    assert "secret" not in TWO.spec()
