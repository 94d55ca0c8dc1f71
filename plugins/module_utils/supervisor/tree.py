"""The trainer's processes: torchrun starts each rank in a session of its own, so a process group does not hold them.

The supervisor becomes the parent of what loses its own (a subreaper), so every process of the trainer stays below it
in /proc, whoever started it, and none outlives the end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ..system import files

PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One process in /proc. `cpu` in seconds since its start."""

    pid: int
    parent: int
    name: str
    state: str  # R, S, D, T (stopped), t (traced), Z
    cpu: float


def adopt() -> bool:
    """Makes this process the one that orphans below it fall to; False where the system can't."""
    try:
        import ctypes

        return bool(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError, MemoryError):
        return False


def parse_stat(text: str) -> Process:
    """A line of /proc/<pid>/stat; the name may hold blanks and parentheses. Raises ValueError for anything else."""
    head, _mark, tail = text.rpartition(")")
    number, _mark, name = head.partition(" (")
    words = tail.split()
    if len(words) < 13:
        raise ValueError(text)
    return Process(int(number), int(words[1]), name, words[0], (int(words[11]) + int(words[12])) / TICKS)


def below(root: int, processes: Iterable[Process]) -> list[Process]:
    """The descendants of a process, parents before children."""
    children: dict[int, list[Process]] = {}
    for one in processes:
        children.setdefault(one.parent, []).append(one)
    found: list[Process] = []
    front = [root]
    while front:
        generation = [child for pid in front for child in children.get(pid, ())]
        found += generation
        front = [child.pid for child in generation]
    return found


def processes() -> list[Process]:
    """All processes that this one may see."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.append(parse_stat(files.kernel(f"/proc/{name}/stat").decode("utf-8", "replace")))
            except (OSError, ValueError):
                continue  # it ended meanwhile
    return found


def mine() -> list[Process]:
    """The living processes below this one."""
    return [one for one in below(os.getpid(), processes()) if one.state != "Z"]


def rank_of(pid: int) -> int | None:
    """The rank of a process or of its loader worker; None for torchrun, the script, and ended processes."""
    try:
        words = files.kernel(f"/proc/{pid}/environ").split(b"\0")
        return next((int(word[5:]) for word in words if word.startswith(b"RANK=")), None)
    except (OSError, ValueError):
        return None


def stopped(tree: Iterable[Process]) -> list[Process]:
    """Those that a signal or a debugger holds."""
    return [one for one in tree if one.state in "Tt"]


def send(number: int, tree: Iterable[Process]) -> None:
    for one in tree:
        with contextlib.suppress(OSError):
            os.kill(one.pid, number)


def end(first: int | None, timeout: float) -> list[int]:
    """Ends every process below this one: SIGTERM to the group of `first`, SIGKILL to all after `timeout` s.

    Returns those that are still there: a process in the kernel's hands (state D) ends with its driver.
    """
    tree = mine()
    if first is not None and timeout > 0 and tree:
        with contextlib.suppress(OSError):
            os.killpg(first, signal.SIGTERM)  # the script's own session: the shell and torchrun
        send(signal.SIGCONT, tree)  # a stopped process does not even hear SIGTERM
        _await(timeout)
    for _again in range(50):
        tree = mine()
        if not tree:
            return []
        send(signal.SIGKILL, tree)
        reap()
        time.sleep(0.1)
    return [one.pid for one in mine()]


def _await(seconds: float) -> None:
    until = time.monotonic() + seconds
    while mine() and time.monotonic() < until:
        reap()
        time.sleep(0.1)


def reap() -> dict[int, int]:
    """Takes the exit codes of children that ended: process number to code, negative for a signal."""
    codes: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return codes
        if not pid:
            return codes
        codes[pid] = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def oom_kills() -> int:
    """Number of processes of this control group that the kernel ended for lack of memory; 0 when unknown."""
    for root, name in _groups():
        for path in (f"/sys/fs/cgroup{root}{name}/memory.events", f"/sys/fs/cgroup{root}{name}/memory.oom_control"):
            lines = [line.split() for line in files.text(path).splitlines()]
            words = {line[0]: line[1] for line in lines if len(line) > 1}
            if words:
                return int(words.get("oom_kill", 0))
    return 0


def _groups() -> list[tuple[str, str]]:
    """(mount below /sys/fs/cgroup, path of this process) for memory, on cgroup v2, v1 and the mixture."""
    found = []
    try:
        for line in files.text("/proc/self/cgroup").splitlines():
            _unused, controllers, path = line.split(":", 2)
            if controllers == "":
                found += [("", path), ("/unified", path)]
            elif "memory" in controllers.split(","):
                found.insert(0, ("/memory", path))
    except ValueError:
        return []
    return found
