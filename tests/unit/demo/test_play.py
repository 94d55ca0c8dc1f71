"""ansible-runner's events become progress: a line that lives, what is for the user, and the whole text in the log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from demo import play


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def event(kind: str, text: str = "", **data: Any) -> dict[str, Any]:
    return {"event": kind, "stdout": text, "event_data": data}


EVENTS = (
    event("playbook_on_play_start", "\nPLAY [Prepare] ***"),
    event("playbook_on_task_start", "\nTASK [Fetch the model] ***", task="Fetch the model"),
    event("verbose", "  atlas  weights  40 of 100 MB"),
    event("runner_on_ok", "ok: [atlas]", host="atlas"),
    event("runner_on_failed", "fatal: [bolt0]: FAILED! => why", host="bolt0"),
    event("runner_on_failed", "fatal: [bolt1]: FAILED! => tried", host="bolt1", ignore_errors=True),
    event("playbook_on_stats", "PLAY RECAP ***\natlas : ok=1"),
)


def progress(out: StringIO, *times: float) -> play.Progress:
    clock = iter([*times, *[times[-1]] * 99])
    return play.Progress(out, StringIO(), lambda: next(clock))


def test_a_pipe_gets_what_is_for_the_user_and_the_log_gets_all() -> None:
    seen = progress(StringIO(), 0.0)
    assert not any(seen.event(one) for one in EVENTS), "the runner keeps none of them in a file"
    seen.end()
    shown = seen.out.getvalue()  # type: ignore[attr-defined]
    assert shown.splitlines() == [
        "  atlas  weights  40 of 100 MB",
        "fatal: [bolt0]: FAILED! => why",
        "PLAY RECAP ***",
        "atlas : ok=1",
    ]
    log = seen.log.getvalue()  # type: ignore[attr-defined]
    assert all(str(one["stdout"]) in log for one in EVENTS)


def test_a_terminal_gets_one_line_that_lives_and_that_goes() -> None:
    seen = progress(Terminal(), 0.0, 0.0, 0.0, 65.0)
    for one in EVENTS[1:2] + EVENTS[3:4]:
        seen.event(one)
    seen.end()
    shown = seen.out.getvalue()  # type: ignore[attr-defined]
    assert "task 1: Fetch the model  (atlas)" in shown
    assert "1 min 05 s" in shown
    assert "\n" not in shown
    assert shown.endswith(play.CLEAR)


def test_a_pipe_hears_of_a_long_task_from_time_to_time() -> None:
    seen = progress(StringIO(), 0.0, 0.0, 0.0, 5.0, 5.0, 11.0, 11.0, 12.0)
    seen.event(EVENTS[1])
    for _ in range(4):
        seen.tick()
    lines = seen.out.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[1] for line in lines] == ["11.0"]


def test_the_log_names_the_tasks_that_took_long_and_has_no_colours() -> None:
    seen = progress(StringIO(), 0.0)
    seen.now = iter([0.0] * 3 + [9.0] * 9).__next__
    seen.event(event("playbook_on_task_start", "\x1b[32mTASK [Slow]\x1b[0m", task="Slow"))
    seen.event(event("playbook_on_task_start", "TASK [Next]", task="Next"))
    seen.end()
    log = seen.log.getvalue()  # type: ignore[attr-defined]
    assert "    9.0 s  Slow\n" in log
    assert "\x1b" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_ansible_which_says_its_last_words(tmp_path: Path, number: signal.Signals) -> None:
    """ansible-runner gives ansible-playbook a terminal of its own; Ctrl-C does not reach it by itself."""
    (tmp_path / "wait.yml").write_text(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n"
        "  tasks:\n    - ansible.builtin.wait_for: {timeout: 60}\n"
    )
    log = tmp_path / "log"
    env = {**os.environ, "STEP_LOG": str(log)}
    words = [sys.executable, "-m", "demo.play", str(tmp_path / "wait.yml"), "-i", "localhost,"]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        for _ in range(600):
            if (log.exists() and "TASK [" in log.read_text()) or process.poll() is not None:
                break
            play.time.sleep(0.1)
        process.send_signal(number)
        shown, _ = process.communicate(timeout=60)
    assert process.returncode not in (0, -signal.SIGTERM), shown
    assert "interrupted" in shown.lower()
    assert "PLAY [" in log.read_text()


def test_a_play_takes_nothing_from_one_that_goes_on(tmp_path: Path) -> None:
    """Were the runner's files gone, Ansible would wait for ever: its thread of results ends without a sound."""
    (tmp_path / "two.yml").write_text(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n"
        f"  tasks:\n    - ansible.builtin.debug:\n      until: \"'{tmp_path}/begun' is exists\"\n"
        "      retries: 200\n      delay: 1\n    - ansible.builtin.debug:\n"
    )
    (tmp_path / "none.yml").write_text("- hosts: localhost\n  connection: local\n  gather_facts: false\n")
    words = [sys.executable, "-m", "demo.play", str(tmp_path / "two.yml"), "-i", "localhost,"]
    log = tmp_path / "log"
    with subprocess.Popen(words, env={**os.environ, "STEP_LOG": str(log)}, stdout=subprocess.DEVNULL) as first:
        try:
            for _ in range(600):
                if log.exists() and "TASK [" in log.read_text():
                    break
                play.time.sleep(0.1)
            for _ in range(2):
                other = [*words[:3], str(tmp_path / "none.yml"), "-i", "localhost,"]
                assert subprocess.run(other, stdout=subprocess.DEVNULL, check=False, timeout=60).returncode == 0
            (tmp_path / "begun").touch()
            assert first.wait(60) == 0
        finally:
            first.terminate()
