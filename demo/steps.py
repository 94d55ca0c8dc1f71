"""Steps of `make demo` and `make test`: each says what it does, shows that it lives, and how long it took."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
REPORTS = CHECKOUT / "reports"
HEARTBEAT = 10.0  # seconds between two signs of life in a log
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
FAILURES = (r"^=+ (FAILURES|ERRORS) =+$", r"\[ERROR\]|fatal: |failed: ", r"^Traceback")  # pytest, Ansible, Python


@dataclass(frozen=True)
class Step:
    """A command with a name. `shown`: its output is for the user and goes to the terminal too."""

    name: str
    command: Sequence[str]
    shown: bool = False
    env: Mapping[str, str] | None = None

    @property
    def log(self) -> Path:
        return REPORTS / (re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-") + ".log")


@dataclass(frozen=True)
class Outcome:
    step: Step
    code: int
    seconds: float

    @property
    def passed(self) -> bool:
        return self.code == 0


def duration(seconds: float) -> str:
    """12.3 s below a minute, 2 min 03 s above."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def run(step: Step) -> Outcome:
    """Runs the step with its output in `step.log`; returns its exit code, never raises for a failed command."""
    REPORTS.mkdir(exist_ok=True)
    started = time.monotonic()
    print(f"==> {step.name}", flush=True)
    code = _run_shown(step) if step.shown else _run_quietly(step, started)
    taken = time.monotonic() - started
    print(f"    {'done' if code == 0 else f'FAILED (exit {code})'} after {duration(taken)}", flush=True)
    if code and not step.shown:
        _show_failure(step.log)
    return Outcome(step, code, taken)


def _run_shown(step: Step) -> int:
    """The command's lines go to the terminal and into the log, as they come."""
    with step.log.open("wb") as log, _start(step, subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        try:
            for line in process.stdout:
                log.write(line)
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            return process.wait()
        except KeyboardInterrupt:
            _stop(process)
            raise


def _run_quietly(step: Step, started: float) -> int:
    live = sys.stdout.isatty()
    with step.log.open("wb") as log, _start(step, log.fileno()) as process:
        try:
            while True:
                try:
                    return process.wait(timeout=1.0 if live else HEARTBEAT)
                except subprocess.TimeoutExpired:
                    _beat(step, time.monotonic() - started, live)
        except KeyboardInterrupt:
            _stop(process)
            raise
        finally:
            if live:
                print("\r\033[K", end="", flush=True)


def _start(step: Step, stdout: int) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONUNBUFFERED": "1", **(step.env or {})}
    # The step ends with us, even when we are killed: nothing goes on that the next call would meet.
    command = ["setpriv", "--pdeathsig", "TERM", *step.command]
    return subprocess.Popen(
        command, cwd=CHECKOUT, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """On a terminal Ctrl-C reached the child too, so give it a moment for its own way out, then insist."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            process.wait(timeout=10)
            return
        except subprocess.TimeoutExpired:
            process.send_signal(number)


def _beat(step: Step, seconds: float, live: bool) -> None:
    last = _last_line(step.log)
    text = f"    … {duration(seconds)}  {last}"[:110]
    print(f"\r\033[K{text}" if live else text, end="" if live else "\n", flush=True)


def _last_line(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 2000))
        lines = stream.read().decode(errors="replace").strip().splitlines()
    return ESCAPES.sub("", lines[-1]).strip() if lines else ""


def _show_failure(log: Path, lines: int = 25) -> None:
    """What the failure was, by the last line that tells of one, and the log's end."""
    text = ESCAPES.sub("", log.read_text(errors="replace")).splitlines()
    tail = max(0, len(text) - lines)
    found = ([number for number, line in enumerate(text[:tail]) if re.search(pattern, line)] for pattern in FAILURES)
    first = next((numbers[-1] for numbers in found if numbers), tail)
    shown = [*text[max(0, first - 5) : min(first + lines, tail)], *text[tail:]]
    print("\n".join(f"    | {line}" for line in shown))
    print(f"    the whole log: {log.relative_to(CHECKOUT)}", flush=True)
