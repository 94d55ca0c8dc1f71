"""Lines of an error stream without what others put around them. Pure.

Launchers, clocks, journals and containers write in front of a line: the rank, the time, the host. A narrow console
breaks a long line into several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

WRAPPED = 50  # letters of a line that a console may have broken
PARTS = 3  # lines below it that may be its rest
_CLOCK = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_FRONT = re.compile(
    r"(?:\s*(?:"
    r"\[(?:default|rank)?\d{1,6}\]:"  # torchrun, and the ranks
    r"|\[\d{1,6}(?:,\d{1,6})?\]<std(?:err|out)>:?|stderr\s?[:|]"  # mpirun, horovod; a launcher's launcher
    rf"|\[?{_CLOCK}\]?(?: [\w.-]+ [\w.@-]+\[\d{{1,9}}\]:)?"  # a clock; journalctl adds host and unit
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]+ [\w.@-]+(?:\[\d{1,9}\])?:"  # syslog
    r"|\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?= )"  # a clock without a date
    r"|\d{1,6}:(?= )"  # srun --label
    r"|\((?:\w+ )?pid=\d+(?:, ip=[\w.:]+)?\)"  # ray
    r"|[\w.-]+-\d{1,4} +\||\|"  # docker compose, groups of exceptions
    r"|\[?(?:ERROR|CRITICAL|FATAL)\]?[ :|-]+(?=[\w.]*(?:Error|Exception)\b)"  # a level
    r"))+\s*"
)
_RANK = re.compile(r"\[(?:default|rank)?(?:\d{1,6},)?(\d{1,6})\](?::|<std)")
# What begins something of its own, and is no rest of the line above.
_BEGINS = re.compile(
    r"(?:[A-Za-z_]\w*\.)*(?:[A-Za-z_]\w*(?:Error|Interrupt|Exit)|\w*Exception)(?::|$)"
    r"|Traceback \(|File \"|During handling|The above exception|Exception (?:ignored|raised)|terminate called|what\(\)"
    r"|[=*\-^~]{3,}|Root Cause|Failures?:|\[?[WEIFD]\d{3,4} |\[[WEIF] |frame #|\(step=|wandb: |srun: |slurmstepd: "
    r"|\S+:\d+:\d+ \[\d+\] NCCL |\S*Warning: |WARNING|ERROR|INFO|DEBUG"
)


def bare(line: str) -> str:
    front = _FRONT.match(line)
    return line[front.end() if front else 0 :].strip()


def rank_of(line: str) -> int | None:
    """The rank in front of a line. Behind torchrun's own number of the process stands that of the run."""
    ranks = _ranks(line)
    return ranks[-1] if ranks else None


def unwrapped(lines: Sequence[str], number: int) -> Iterator[str]:
    """The line together with those below it that may be its rest: broken between words, and within one."""
    spaced = close = line = bare(lines[number])
    if len(lines[number]) < WRAPPED and not line.endswith(":"):
        return
    source = _ranks(lines[number])[:1]
    for below in lines[number + 1 : number + 1 + PARTS]:
        one = bare(below)
        if _BEGINS.match(one) or _ranks(below)[:1] not in ([], source):
            return
        spaced, close = f"{spaced} {one}", f"{close}{one}"
        yield spaced
        yield close


def _ranks(line: str) -> list[int]:
    front = _FRONT.match(line)
    return [int(rank) for rank in _RANK.findall(front[0])] if front else []
