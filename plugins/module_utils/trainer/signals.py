"""Which signal ended a rank, or torchrun itself: what the launcher, the shell and the cluster say. Pure.

A process that a signal ends leaves no line of its own.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from .error_lines import bare

BLOCK = 10  # lines of torchrun's block about one rank
SHELL = 128  # a shell adds it to a signal's number
_ROOT = re.compile(r"^Root Cause(?: \(first observed failure\))?:?$")
_EXIT = re.compile(r"exitcode\s*:\s*(-?\d{1,3})\b")
_ROOT_RANK = re.compile(r"^rank\s*:\s*(\d{1,6})")
_CODE = re.compile(r"failed \(exitcode: (-?\d{1,3})\) local_rank: |\bexits with return code = (-?\d{1,3})\b")
_NAME = re.compile(r"\b(?:died with <Signals\.|process \d+ terminated with signal )(SIG[A-Z0-9]+)")
_UNIT = re.compile(r"Main process exited, code=(?:killed|dumped), status=\d+/([A-Z0-9]+)")
_WORDS = {
    "Killed": signal.SIGKILL,
    "Terminated": signal.SIGTERM,
    "Hangup": signal.SIGHUP,
    "Aborted": signal.SIGABRT,
    "Segmentation fault": signal.SIGSEGV,
    "Bus error": signal.SIGBUS,
    "已杀死": signal.SIGKILL,  # a shell on a host whose language is Chinese
    "已终止": signal.SIGTERM,
    "段错误": signal.SIGSEGV,
}
_ANY = "|".join(_WORDS)
_WORD = re.compile(  # bash names the line and the process; others write the word alone
    rf"[:：] ?(?:line |行 ?|第 ?)\d+(?: ?行)?[:：]\s*\d+ ({_ANY})\b"
    rf"|(?:it/s\]|s/it\]|^srun: error: [\w.,\[\]-]+: tasks? [\d,\-\[\]]+:|^) *({_ANY})(?: \(core dumped\))?$"
)


@dataclass(frozen=True)
class Ended:
    """A signal's number, the rank that it ended, and the lines that say so."""

    signal: int
    rank: int | None
    lines: tuple[str, ...]


def ended_rank(lines: Sequence[str]) -> Ended | None:
    """What torchrun's block names as the root cause; None if that was no signal."""
    for number, line in enumerate(lines):
        if _ROOT.search(bare(line)):
            block = [bare(one) for one in lines[number : number + BLOCK]]
            code = next((match for one in block if (match := _EXIT.search(one))), None)
            rank = next((match for one in block if (match := _ROOT_RANK.search(one))), None)
            if code and (by := _signal(int(code[1]))):
                return Ended(by, int(rank[1]) if rank else None, tuple(block))
    return None


def ended_by(line: str) -> int:
    """The signal that one line names, outside of torchrun's block; 0 for none."""
    if match := _CODE.search(line):
        return _signal(int(match[1] or match[2]))
    if match := _UNIT.search(line):
        return _number(f"SIG{match[1]}")
    match = _WORD.search(line)
    return int(_WORDS[match[match.lastindex or 1]]) if match else named(line)


def named(error: str) -> int:
    """The signal in the words of a Python error; 0 for none."""
    match = _NAME.search(error)
    return _number(match[1]) if match else 0


def _number(name: str) -> int:
    return int(signal.Signals[name]) if name in signal.Signals.__members__ else 0


def _signal(code: int) -> int:
    """Of an exit code: Python's are negative, a shell's lie above 128."""
    found = -code if code < 0 else code - SHELL
    return found if found in signal.valid_signals() else 0
