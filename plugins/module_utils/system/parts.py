"""Several questions at once, each in a process of its own: one that hangs costs its own time, and the others answer."""

from __future__ import annotations

import gc
import json
import os
import resource
import selectors
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from . import limits

GRACE = 2.0  # s from a part's own end to its killing: a process that waits for a dead disk does not end by itself
NAMED = ("path", "folder", "argv")  # local variables that show what a part was doing
BLOCK = 1 << 16


class _LateError(BaseException):
    """Raised in a part when its time is over; not caught by handlers of Exception."""


@dataclass(frozen=True)
class Part:
    """One question. Its answer is plain data for JSON. `memory`: bytes of its address space, 0 for no limit."""

    ask: Callable[[], Any]
    seconds: float = limits.PART_SECONDS
    memory: int = limits.MEMORY_BYTES


@dataclass
class _Asked:
    name: str
    part: Part
    pid: int
    pipe: int
    until: float
    data: bytearray = field(default_factory=bytearray)
    why: str = ""  # there is no answer


def answers(parts: Mapping[str, Part], until: float) -> tuple[dict[str, Any], dict[str, str]]:
    """(answers by name, and by name why there is none). `until`: the end of all, by the monotonic clock."""
    gc.freeze()  # what the children do not collect they do not copy
    asked = [_start(name, part, until) for name, part in parts.items()]
    gc.unfreeze()
    with selectors.DefaultSelector() as waiting:
        for one in asked:
            waiting.register(one.pipe, selectors.EVENT_READ, one)
        while waiting.get_map():
            _wait(waiting)
    read = {one.name: _result(one) for one in asked}
    good = {name: found["answer"] for name, found in read.items() if "answer" in found}
    return good, {name: str(found["why"]) for name, found in read.items() if name not in good}


def _start(name: str, part: Part, until: float) -> _Asked:
    inlet, outlet = os.pipe()
    seconds = max(0.1, min(part.seconds, until - time.monotonic()))
    pid = os.fork()
    if not pid:
        os.close(inlet)
        _answer(part, seconds, outlet)
    os.close(outlet)
    os.set_blocking(inlet, False)
    return _Asked(name, part, pid, inlet, time.monotonic() + seconds + GRACE)


def _answer(part: Part, seconds: float, outlet: int) -> NoReturn:
    """The whole life of the child. It holds neither the module's output nor its terminal, so no program waits for
    it."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        if part.memory:
            resource.setrlimit(resource.RLIMIT_AS, (part.memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
        signal.signal(signal.SIGALRM, _late)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _write(outlet, _reply(part, seconds))
    finally:
        os._exit(0)


def _late(_number: int, _frame: FrameType | None) -> None:
    raise _LateError


def _reply(part: Part, seconds: float) -> bytes:
    try:
        return json.dumps({"answer": part.ask()}).encode()
    except _LateError as error:
        at = _place(error)
        return json.dumps({"why": f"no answer within {seconds:g} s{f', at {at}' if at else ''}"}).encode()
    except MemoryError:
        return json.dumps({"why": f"it needs more than {part.memory >> 20} MiB of memory"}).encode()
    except Exception as error:
        return json.dumps({"why": f"{type(error).__name__}: {error}"[:1000]}).encode()


def _place(error: BaseException) -> str:
    """The path, or program with arguments, that the innermost known function was using."""
    found, trace = "", error.__traceback__
    while trace:
        local = trace.tb_frame.f_locals
        here = next((local[name] for name in NAMED if isinstance(local.get(name), (str, os.PathLike, tuple))), "")
        found = " ".join(map(str, here)) if isinstance(here, tuple) else os.fspath(here) or found
        trace = trace.tb_next
    return found[:300]


def _write(outlet: int, data: bytes) -> None:
    while data:
        data = data[os.write(outlet, data) :]


def _wait(waiting: selectors.BaseSelector) -> None:
    """Read answers until the next part ends or times out."""
    open_ones: list[_Asked] = [key.data for key in waiting.get_map().values()]
    first = min(one.until for one in open_ones)
    for key, _events in waiting.select(max(0.0, first - time.monotonic())):
        one: _Asked = key.data
        block = os.read(one.pipe, BLOCK)
        one.data += block
        if len(one.data) > limits.ANSWER_BYTES:
            _end(waiting, one, f"an answer of more than {limits.ANSWER_BYTES >> 20} MiB")
        elif not block:
            _end(waiting, one, "")
    for one in open_ones:
        if time.monotonic() > one.until and one.pipe in waiting.get_map():
            _end(waiting, one, f"no answer within {one.part.seconds:g} s, and no end")


def _end(waiting: selectors.BaseSelector, one: _Asked, why: str) -> None:
    one.why = why
    waiting.unregister(one.pipe)
    os.close(one.pipe)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(one.pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(one.pid, 0 if not why else os.WNOHANG)  # who waits for a dead disk is not waited for


def _result(one: _Asked) -> dict[str, Any]:
    if one.why:
        return {"why": one.why}
    try:
        found = json.loads(bytes(one.data))
    except ValueError:
        return {"why": "its process ended without an answer"}
    return found if isinstance(found, dict) else {"why": "no answer"}
