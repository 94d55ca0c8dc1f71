"""A playbook through ansible-runner: its events become progress on the terminal, its whole text goes into a log.

python -m demo.play PLAYBOOK [OPTION...]       the log's path is in STEP_LOG

What the collection says itself (the plan, the progress of long work, the fleet), failures and the counts at the end are
shown as they come. Of tasks there is one live line, or a line every ten seconds where nobody looks.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import ansible_runner

from demo.steps import CHECKOUT, CLEAR, ESCAPES, HEARTBEAT, duration
from demo.surroundings import enter

SPOKEN = ("verbose", "warning", "deprecated", "error", "playbook_on_stats")  # events whose text is for the user
BAD = ("runner_on_failed", "runner_on_unreachable", "runner_item_on_failed")
SLOWEST = 8  # tasks whose times stand at the end of the log


@dataclass
class Progress:
    """What a play of events comes to, for one terminal and one log. `now`: seconds of any clock."""

    out: TextIO
    log: TextIO
    now: Any = time.monotonic
    task: str = ""
    number: int = 0
    hosts: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.began = self.turned = self.beaten = self.now()

    def event(self, event: Mapping[str, Any]) -> bool:
        """Returns False: the runner need not keep it in a file."""
        kind, text, data = event["event"], event.get("stdout") or "", event.get("event_data") or {}
        if text:
            self.log.write(ESCAPES.sub("", text) + "\n")
        if kind == "playbook_on_task_start":
            self._turn()
            self.task, self.number, self.hosts = str(data.get("task", "")), self.number + 1, Counter()
        elif kind.startswith("runner_on_") and kind != "runner_on_start":
            self.hosts[str(data.get("host", ""))] += 1
        if kind in SPOKEN or (kind in BAD and not data.get("ignore_errors")):
            self._say(text)
        self.tick()
        return False

    def tick(self) -> bool:
        """A sign of life, when it is time for one. Returns False: nothing is to be cancelled."""
        line = f"    … {duration(self.now() - self.began)}  task {self.number}: {self.task}"
        line += f"  ({', '.join(self.hosts)})" if self.hosts else ""
        if self.out.isatty():
            self.out.write(f"{CLEAR}{line[:110]}")
        elif self.now() - self.beaten >= HEARTBEAT:
            self.beaten = self.now()
            self.out.write(f"{line[:110]}\n")
        self.out.flush()
        return False

    def end(self) -> None:
        """The line of progress goes, and the log says which tasks took long."""
        self._turn()
        if self.out.isatty():
            self.out.write(CLEAR)
        self.log.write("".join(f"{taken:7.1f} s  {task}\n" for task, taken in self.seconds.most_common(SLOWEST)))

    def _turn(self) -> None:
        self.seconds[self.task or "start"] += self.now() - self.turned
        self.turned = self.now()

    def _say(self, text: str) -> None:
        """Empty lines come one at a time: what stood between them may not be shown."""
        self.beaten = self.now()
        self.out.write(f"{CLEAR if self.out.isatty() else ''}{text}\n")
        self.out.flush()


def play(playbook: str, options: list[str], progress: Progress, place: str) -> int:
    """The return code of ansible-playbook. `place`: a folder of this play alone, where the runner keeps its files."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupt(os.getpid()))
    done = ansible_runner.run(
        private_data_dir=place,
        project_dir=str(CHECKOUT),
        playbook=playbook,
        cmdline=shlex.join(options),
        envvars={"ANSIBLE_HOST_KEY_CHECKING": "True", **({} if progress.out.isatty() else {"ANSIBLE_NOCOLOR": "True"})},
        settings={"pexpect_timeout": 1},  # seconds between two ticks
        suppress_env_files=True,
        quiet=True,
        event_handler=progress.event,
        cancel_callback=progress.tick,
    )
    progress.end()
    return int(done.rc)


def interrupt(parent: int) -> None:
    """Ctrl-C for the children of a process: ansible-playbook has a terminal of its own, and did not see the user's."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if f"\nPPid:\t{parent}\n" in status.read_text():
                os.kill(int(status.parent.name), signal.SIGINT)
        except (OSError, ValueError):  # it has ended meanwhile
            continue


def main(words: list[str]) -> int:
    if not words:
        print(__doc__, file=sys.stderr)
        return 2
    enter()
    # Of its own: were the files of a play taken away by another one, Ansible would wait for ever.
    with (
        tempfile.TemporaryDirectory(prefix="canvas-fleet-", ignore_cleanup_errors=True) as place,
        open(os.environ.get("STEP_LOG", os.devnull), "w", buffering=1) as log,
    ):
        return play(words[0], words[1:], Progress(sys.stdout, log), place)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
