# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C ends ansible-playbook alone. Its last words say what goes on at the hosts, and how to end it.

A process that waits for long work notes it in Ansible's own folder of this call; the main process reads the notes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ansible import constants
from ansible.utils.display import Display

from ..module_utils.core import shown
from ..module_utils.system import files, folders
from ..module_utils.system.digests import sha256
from . import calls

NOTE = "canvas-fleet-work-"
ENDING = """\
The same command attaches to it again. A training that runs goes on, too. {status} shows both, and
{stop} ends the training after its next save."""


def folder() -> str:
    return str(vars(constants)["DEFAULT_LOCAL_TMP"])


@contextmanager
def noted(host: str, work: str) -> Iterator[None]:
    """Long work that runs on a host meanwhile. The note stays when the wait is given up, since the work goes on."""
    path = os.path.join(folder(), NOTE + sha256(f"{host} {work}")[:16])
    unit = f"canvas-work-{work}"
    files.write(path, f"{host}  {work}  (to end it, on the host: systemctl stop {unit})".encode(), 0o600)
    yield
    files.remove(path)


def words() -> str:
    """The message after Ctrl-C."""
    notes = [name for name in folders.names(folder()) if name.startswith(NOTE)]
    works = [f"  {text}" for text in sorted(files.text(os.path.join(folder(), name)) for name in notes)]
    begin = "On the hosts goes on:" if works else "No long work was begun on the hosts."
    ending = ENDING.format(status=calls.playbook("status"), stop=calls.playbook("stop"))
    return "\n".join(["Interrupted.", begin, *works, ending])


def announce() -> None:
    """Let the main process say so. In a worker of Ansible, and in other programs, nothing is done."""
    before = signal.getsignal(signal.SIGINT)
    if type(getattr(before, "__self__", None)).__name__ != "TaskQueueManager" or not callable(before):
        return

    def interrupted(number: int, frame: FrameType | None) -> None:
        Display().display("\n" + shown.lines(words()))
        before(number, frame)

    signal.signal(signal.SIGINT, interrupted)
