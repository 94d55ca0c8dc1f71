"""The supervisor's output, processes, record, code file and protocol, each alone."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload as supervisor_spec
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import main as supervisor
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import record as supervisor_record
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import tree as supervisor_tree
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor.guard_runner import GuardRunner
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor.output import LogRateLimiter, Stderr, Stdout
from ansible_collections.canvas.fleet.plugins.module_utils.supervisor.sd_notify import Notifier
from ansible_collections.canvas.fleet.plugins.module_utils.system.payload import PACKAGE, closure, packed
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.failures import Failure
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.supervised import wait_for


@given(st.lists(st.integers(1, 400), max_size=20), st.integers(1, 50))
def test_no_line_of_a_flood_goes_uncounted(bursts: list[int], budget: int) -> None:
    said: list[str] = []
    stdout = Stdout(LogRateLimiter(said.append, budget=budget, window=60))
    for number, lines in enumerate(bursts):
        stdout.feed(b"".join(b"repeat in rank-0 %d\n" % at for at in range(lines)), 100.0 + number * 10)
    stdout.feed(b"", 10_000.0)
    held = sum(int(text.split()[1].replace(",", "")) for text in said if text.startswith("…"))
    assert held + sum(not text.startswith("…") for text in said) == sum(bursts)
    assert stdout.repeats == sum(bursts)
    assert sum(not text.startswith("…") for text in said) <= budget * (len(bursts) // 6 + 1)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30))
def test_lines_are_whole_wherever_the_pipe_cuts_them(cuts: list[int]) -> None:
    text = "eins – zwei\nrank0: drei\r\n\x1b[34mvier\x1b[0m\nfünf"
    got: list[str] = []
    stderr, rest = Stderr("/nonexistent/errors.log", got.append), text.encode()
    for size in cuts:
        stderr.feed(rest[:size])
        rest = rest[size:]
    stderr.feed(rest)
    stderr.close()
    assert got == ["eins – zwei", "rank0: drei", "vier", "fünf"]


def test_the_error_file_is_bounded_and_the_newest_words_are_in_it(tmp_path: Path) -> None:
    stderr = Stderr(str(tmp_path / "errors.log"), lambda line: None, limit=10_000)
    for number in range(3000):
        stderr.feed(b"line %05d\n" % number)
    stderr.close()
    assert (tmp_path / "errors.log").read_text().endswith("line 02999\n")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 30_000
    assert stderr.lines[-1] == "line 02999"


def test_a_new_start_keeps_the_words_of_the_two_before_it(tmp_path: Path) -> None:
    for word in ("one", "two", "three", "four"):
        stderr = Stderr(str(tmp_path / "errors.log"), lambda line: None)
        stderr.feed(word.encode())
        stderr.close()
    assert [(tmp_path / f"errors.log{end}").read_text().strip() for end in ("", ".1", ".2")] == ["four", "three", "two"]


def test_a_link_in_the_place_of_the_error_file_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "errors.log").symlink_to(tmp_path / "precious")
    stderr = Stderr(str(tmp_path / "errors.log"), lambda line: None)
    stderr.feed(b"words\n")
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "name", "state", "parent"),
    [
        ("12 (python3) T 7 12 12 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 5", "python3", "T", 7),
        ("12 (a) b (c) S 7 12 12 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 5", "a) b (c", "S", 7),
    ],
)
def test_a_process_is_read_whatever_its_name(text: str, name: str, state: str, parent: int) -> None:
    found = supervisor_tree.parse_stat(text)
    assert (found.name, found.state, found.parent, found.cpu) == (name, state, parent, 200 / supervisor_tree.TICKS)


def test_processes_of_a_session_of_their_own_are_below_their_starter() -> None:
    made = [
        supervisor_tree.Process(pid, parent, "x", "S", 0.0) for pid, parent in ((5, 2), (2, 1), (3, 1), (4, 2), (9, 8))
    ]
    assert [one.pid for one in supervisor_tree.below(1, made)] == [2, 3, 5, 4]


def test_what_the_supervisor_needs_of_ours_is_in_its_file_and_nothing_else(tmp_path: Path) -> None:
    name, content = supervisor_spec.payload()
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        ours = {entry.removeprefix(PACKAGE) for entry in source.namelist() if entry.startswith(PACKAGE)}
    assert {"supervisor/main.py", "supervisor/guard.py", "supervisor/sd_notify.py", "core/errors.py"} <= ours
    assert not any(entry.startswith(("roles/", "plan/", "work/", "machine/")) for entry in ours)
    (tmp_path / name).write_bytes(content)
    done = subprocess.run([sys.executable, "-I", tmp_path / name, "/nowhere"], capture_output=True, text=True)
    assert "No such file or directory: '/nowhere'" in done.stderr, "every import was found"


def test_equal_code_has_one_name_and_other_code_another() -> None:
    files = {supervisor_spec.MAIN: b"x = 1\n"}
    assert packed(files, supervisor_spec.MAIN) == packed(dict(files), supervisor_spec.MAIN)
    assert packed(files, supervisor_spec.MAIN) != packed({supervisor_spec.MAIN: b"x = 2\n"}, supervisor_spec.MAIN)
    with pytest.raises(KeyError):
        closure(supervisor_spec.MAIN, {supervisor_spec.MAIN: b"from ..gone import x\n"})


@given(st.binary(max_size=200))
def test_whatever_lies_in_the_users_folder_is_read_without_harm(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "state.json"
    path.write_bytes(content)
    found = supervisor_record.read(str(path))
    assert isinstance(found, dict)
    failure = supervisor_record.failure_from(found)
    assert failure is None or isinstance(failure.kind, str)


@pytest.mark.parametrize(
    ("found", "failure"),
    [
        ({"kind": "X", "line": "l", "lines": ["a", 3], "rank": 1}, Failure("X", "l", ("a", "3"), 1)),
        ({"kind": "X", "line": "l", "lines": "no list", "rank": "1"}, Failure("X", "l", (), None)),
        ({"kind": "", "line": "l"}, None),
        ({"kind": ["X"], "line": "l"}, None),
        ({}, None),
    ],
)
def test_a_failure_is_read_back_with_its_types(found: dict[str, Any], failure: Failure | None) -> None:
    assert supervisor_record.failure_from(found) == failure


def test_a_link_in_the_users_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"kind": "X", "line": "l"}')
    (tmp_path / "state.json").symlink_to(tmp_path / "secret")
    assert supervisor_record.read(str(tmp_path / "state.json")) == {}


@pytest.mark.parametrize("abstract", [True, False])
def test_systemd_is_told_and_its_address_kept_from_the_children(tmp_path: Path, abstract: bool) -> None:
    address = f"\0canvas-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(address)
        environment = {"NOTIFY_SOCKET": address.replace("\0", "@"), "WATCHDOG_USEC": "5", "HOME": "/"}
        notifier = Notifier(environment)
        assert environment == {"HOME": "/"}
        notifier.ready()
        notifier.status("step 1/2\n  ce 0.5")
        notifier.status("step 1/2 ce 0.5")
        notifier.alive(32.5)
        notifier.extend(60)
        notifier.status("moves \udcb1\udcb8")
        got = [inbox.recv(999).decode() for _ in range(5)]
    assert got == [
        "READY=1",
        "STATUS=step 1/2 ce 0.5",
        "WATCHDOG=1\nWATCHDOG_USEC=32500000",
        "EXTEND_TIMEOUT_USEC=60000000",
        r"STATUS=moves \udcb1\udcb8",
    ]


def test_whatever_a_file_is_called_the_supervisor_can_say_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out, name = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict"), os.fsdecode("备份".encode("gbk"))

    def run(told: supervisor.Supervisor) -> int:
        told._say(f"moves {name}")
        return 0

    (tmp_path / "spec.json").write_text(json.dumps({"record": str(tmp_path)}))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(supervisor.Supervisor, "run", run)
    monkeypatch.setattr(supervisor.tree, "adopt", lambda: None)
    monkeypatch.setattr(supervisor.signal, "signal", lambda *_: None)
    monkeypatch.setattr(supervisor.os, "_exit", lambda code: None)
    supervisor.main([str(tmp_path / "spec.json")])
    assert out.buffer.getvalue() == b"moves \\udcb1\\udcb8\\udcb7\\udcdd\n"


def test_a_record_of_such_a_name_is_plain_text(tmp_path: Path) -> None:
    supervisor_record.Record(str(tmp_path), "ab").failed(Failure("UNKNOWN", "moves \udcb1\udcb8"), True, "prepare")
    assert supervisor_record.read(str(tmp_path / "failure.json"))["line"] == "moves ��"


def test_without_systemd_nothing_is_told() -> None:
    Notifier({}).ready()


class Guard:
    """A checkpoint guard in memory."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sealed: list[int] = []
        self.error, self.closed = error, False

    def before_start(self, spec: Any, say: Any) -> None:
        say("looked")
        if self.error:
            raise self.error

    def after_save(self, spec: Any, step: int, say: Any) -> None:
        if step == 40:
            raise OSError(28, "No space left on device")
        self.sealed.append(step)

    def low_disk(self, spec: Any) -> str:
        return "3 GB free, the next save needs 4 GB"

    def note(self, phase: str, step: int | None) -> None: ...
    def lost_peers(self) -> list[int]:
        return [1]

    def peer_state(self, spec: Any) -> dict[str, Any] | None:
        return {"same": True}

    def close(self) -> None:
        self.closed = True


def test_saves_are_sealed_one_after_the_other_and_a_failing_seal_stops_nothing() -> None:
    said: list[str] = []
    guard = Guard()
    runner = GuardRunner(guard)
    runner.begin({}, said.append)
    wait_for(runner.prepared)
    runner.saves([20])
    runner.saves([40, 60])
    runner.close()
    assert guard.sealed == [20, 60]
    assert guard.closed
    assert any("step 40 could not be sealed: OSError" in text for text in said)
    assert runner.note() == "; 3 GB free, the next save needs 4 GB"
    assert said.count("3 GB free, the next save needs 4 GB") == 1


def test_the_first_node_is_asked_by_the_others_alone() -> None:
    runner = GuardRunner(Guard())
    runner.begin({"node_rank": 1, "peer_port": 29601}, lambda text: None)
    wait_for(lambda: runner.answers() == [{"same": True}])
    runner.close()
    first = GuardRunner(Guard())
    first.begin({"node_rank": 0, "peer_port": 29601}, lambda text: None)
    wait_for(first.prepared)
    assert first.answers() == []
    assert first.lost_peers() == [1]
    first.close()


@pytest.mark.parametrize(
    ("error", "kind", "retry"),
    [(ValueError("x"), "CHECKPOINT_GUARD", False), (OSError(5, "io"), "CHECKPOINT_GUARD", False)],
)
def test_a_guard_that_fails_is_a_failure_of_the_start(error: Exception, kind: str, retry: bool) -> None:
    runner = GuardRunner(Guard(error))
    runner.begin({}, lambda text: None)
    wait_for(runner.prepared)
    assert runner.failure is not None
    assert (runner.failure.kind, runner.retry) == (kind, retry)
