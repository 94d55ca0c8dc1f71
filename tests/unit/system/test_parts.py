"""A question that hangs, grows or dies costs its own limit alone; nobody waits for its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system import files, limits, parts, programs
from ansible_collections.canvas.fleet.plugins.module_utils.system.parts import Part, answers

from tests.unit.support.places import ROOT

LIMIT = 0.3  # s


def asked(ask: Callable[[], Any], **how: Any) -> tuple[dict[str, Any], dict[str, str]]:
    return answers({"one": Part(ask, **{"seconds": LIMIT, **how}), "two": Part(lambda: [2])}, time.monotonic() + 20)


def deaf() -> None:
    """Like a process that waits for a dead disk: no signal but the last one ends it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM})
    time.sleep(60)


def swallows() -> None:
    try:
        time.sleep(60)
    except Exception:
        time.sleep(60)


def test_all_are_asked_at_once() -> None:
    begun = time.monotonic()
    found, silent = answers({str(n): Part(lambda: time.sleep(0.3)) for n in range(8)}, begun + 20)
    assert (found, silent) == (dict.fromkeys("01234567"), {})
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        pytest.param(lambda: time.sleep(60), "no answer within 0.3 s", id="sleeps"),
        pytest.param(swallows, "no answer within 0.3 s", id="takes every error for one"),
        pytest.param(deaf, "no answer within 0.3 s, and no end", id="hears no signal"),
        pytest.param(lambda: programs.run("sleep", "61"), "no answer within 0.3 s, at sleep 61", id="a program hangs"),
        pytest.param(lambda: os.kill(os.getpid(), signal.SIGKILL), "its process ended without an answer", id="dies"),
        pytest.param(lambda: 1 / 0, "ZeroDivisionError: division by zero", id="fails"),
        pytest.param(lambda: bytearray(8 << 30), "it needs more than 4096 MiB of memory", id="asks for gigabytes"),
        pytest.param(lambda: "x" * (17 << 20), "an answer of more than 16 MiB", id="answers without end"),
        pytest.param(object, "TypeError: Object of type object is not JSON serializable", id="answers no plain data"),
    ],
)
def test_one_without_an_answer_says_why_and_the_other_answers(
    ask: Callable[[], Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "GRACE", 0.5)
    begun = time.monotonic()
    long = {"seconds": 10.0} if "answer of" in why or "memory" in why else {}
    assert asked(ask, **long) == ({"two": [2]}, {"one": why})
    assert time.monotonic() - begun < 5


def test_a_path_that_hangs_is_named(tmp_path: Path) -> None:
    def look() -> str:
        path = tmp_path / "slow"
        return str(path) + str(time.sleep(60))

    assert str(tmp_path / "slow") in asked(look)[1]["one"]


def test_the_limit_of_the_whole_is_the_limit_of_each() -> None:
    begun = time.monotonic()
    found, silent = answers({"one": Part(lambda: time.sleep(60))}, begun - 1)
    assert (found, list(silent)) == ({}, ["one"])
    assert time.monotonic() - begun < 5


def test_a_part_that_hears_no_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "GRACE", 0.2)
    mark = tmp_path / "pid"

    def look() -> None:
        mark.write_text(str(os.getpid()))
        deaf()

    asked(look)
    time.sleep(0.2)
    assert ended(mark.read_text())


def ended(pid: str) -> bool:
    """It is gone, or waits for nothing but its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_a_part_started_ends_with_it(tmp_path: Path) -> None:
    """Else a hung nvidia-smi would be left behind by every converge."""
    mark = tmp_path / "pid"
    asked(lambda: programs.run("sh", "-c", f"echo $$ > {mark}; sleep 62"))
    time.sleep(0.2)
    assert ended(mark.read_text().strip())


def test_a_part_that_never_ends_does_not_hold_the_modules_output() -> None:
    """Ansible reads the module's output to its end: a child that held it would hang the play."""
    script = (
        "import time,signal,sys; from tests.finder import install; install()\n"
        "from ansible_collections.canvas.fleet.plugins.module_utils.system import parts\n"
        "parts.GRACE = 0.2; parts.os.killpg = lambda *words: None\n"
        "def deaf():\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM}); time.sleep(8)\n"
        "print(parts.answers({'one': parts.Part(deaf, 0.2)}, time.monotonic() + 9)[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=6, check=True
    )
    assert done.stdout == "{'one': 'no answer within 0.2 s, and no end'}\n"


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert asked(lambda: files.text(tmp_path / "fifo"))[0] == {"one": "", "two": [2]}


def test_the_parts_fit_into_the_whole() -> None:
    """A part's own limit, its grace, what is asked before a start, and the file systems come one after the other."""
    least = limits.GPU_SECONDS + parts.GRACE + limits.MOUNT_SECONDS + parts.GRACE
    assert max(limits.PART_SECONDS, limits.SMI_SECONDS) < limits.GPU_SECONDS
    assert least < limits.HOST_SECONDS
