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
POLL = 0.1
CLEAR = "\r\033[K"
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
FAILURES = (r"^=+ (FAILURES|ERRORS) =+$", r"\[ERROR\]|fatal: |failed: ", r"^Traceback")  # pytest, Ansible, Python


@dataclass(frozen=True)
class Step:
    """A command with a name. `shown`: its output is for the user, and it writes its log itself (STEP_LOG).

    `places`: how many of those of run_all() it takes. `after`: names of the steps that must have ended before.
    """

    name: str
    command: Sequence[str]
    shown: bool = False
    env: Mapping[str, str] | None = None
    places: int = 1
    after: tuple[str, ...] = ()

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


@dataclass
class Running:
    """A step whose process goes on; its output goes into its log."""

    step: Step
    process: subprocess.Popen[bytes]
    started: float
    beaten: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def duration(seconds: float) -> str:
    """12.3 s below a minute, 2 min 03 s above."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def run(step: Step) -> Outcome:
    """Runs the step with its output in `step.log`; returns its exit code, never raises for a failed command."""
    if not step.shown:
        return run_all([step])[0]
    REPORTS.mkdir(exist_ok=True)
    started = time.monotonic()
    print(f"==> {step.name}", flush=True)
    return _ended(Outcome(step, _run_shown(step), time.monotonic() - started))


def run_all(steps: Sequence[Step], places: int = 1) -> list[Outcome]:
    """Runs the steps, as many at once as there are places; outcomes in the given order.

    They start in this order: who waits for another step lets later ones pass, who waits for places does not.
    """
    REPORTS.mkdir(exist_ok=True)
    waiting, running = list(steps), list[Running]()
    outcomes: dict[str, Outcome] = {}
    try:
        while waiting or running:
            while step := _next(waiting, running, places):
                waiting.remove(step)
                running.append(_begin(step))
            _tick(running)
            time.sleep(POLL)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                outcome = Outcome(one.step, one.process.returncode, one.seconds)
                outcomes[one.step.name] = _ended(outcome, f"  {one.step.name}" if running else "")
    finally:  # of an interrupt
        for one in running:
            _stop(one.process)
    return [outcomes[step.name] for step in steps]


def _next(waiting: Sequence[Step], running: Sequence[Running], places: int) -> Step | None:
    open_names = {step.name for step in waiting} | {one.step.name for one in running}
    free = places - sum(one.step.places for one in running)
    first = next((step for step in waiting if open_names.isdisjoint(step.after)), None)
    return first if first and (first.places <= free or not running) else None


def _begin(step: Step) -> Running:
    print(f"{CLEAR if sys.stdout.isatty() else ''}==> {step.name}", flush=True)
    with step.log.open("wb") as log:
        now = time.monotonic()
        return Running(step, _start(step, log.fileno()), now, now)


def _ended(outcome: Outcome, name: str = "") -> Outcome:
    clear = CLEAR if sys.stdout.isatty() else ""
    how = "done" if outcome.passed else f"FAILED (exit {outcome.code})"
    print(f"{clear}    {how} after {duration(outcome.seconds)}{name}", flush=True)
    if not outcome.passed and not outcome.step.shown:
        _show_failure(outcome.step.log)
    return outcome


def _run_shown(step: Step) -> int:
    """The command writes to the terminal, as it wants, and its own log (STEP_LOG)."""
    process = _start(step, None)
    try:
        return process.wait()
    except KeyboardInterrupt:
        _stop(process)
        raise


def _start(step: Step, stdout: int | None) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "STEP_LOG": str(step.log), **(step.env or {})}
    # The step ends with us, even when we are killed: nothing goes on that the next call would meet.
    command = ["setpriv", "--pdeathsig", "TERM", *step.command]
    stderr = None if stdout is None else subprocess.STDOUT
    return subprocess.Popen(command, cwd=CHECKOUT, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """On a terminal Ctrl-C reached the child too, so give it a moment for its own way out, then insist."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            process.wait(timeout=10)
            return
        except subprocess.TimeoutExpired:
            process.send_signal(number)


def _tick(running: Sequence[Running]) -> None:
    """A terminal shows one of the steps in turn, on one line; a log gets a line of each in its time."""
    now = time.monotonic()
    if sys.stdout.isatty():
        one = running[int(now) % len(running)]
        print(f"{CLEAR}{_sign(one, len(running) > 1)}", end="", flush=True)
        return
    for one in running:
        if now - one.beaten >= HEARTBEAT:
            one.beaten = now
            print(_sign(one, len(running) > 1), flush=True)


def _sign(one: Running, named: bool) -> str:
    name = f"{one.step.name}: " if named else ""
    return f"    … {duration(one.seconds)}  {name}{_last_line(one.step.log)}"[:110]


def _last_line(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 2000))
        lines = stream.read().decode(errors="replace").strip().splitlines()
    return _plain(lines[-1]).strip() if lines else ""


def _plain(line: str) -> str:
    """Of a log's line what a terminal draws: a host in the demo may say anything."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in ESCAPES.sub("", line))


def _show_failure(log: Path, lines: int = 25) -> None:
    """The last failure in the log, and the log's end."""
    text = [_plain(line) for line in log.read_text(errors="replace").splitlines()]
    tail = max(0, len(text) - lines)
    found = ([number for number, line in enumerate(text[:tail]) if re.search(pattern, line)] for pattern in FAILURES)
    first = next((numbers[-1] for numbers in found if numbers), tail)
    shown = [*text[max(0, first - 5) : min(first + lines, tail)], *text[tail:]]
    print("\n".join(f"    | {line}" for line in shown))
    print(f"    the whole log: {log.relative_to(CHECKOUT)}", flush=True)
