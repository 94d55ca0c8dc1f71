"""The first node's door: one thread handles all connections without a proof.

A connection from a foreign address is closed at once: nothing is read, no thread is started. An address
of the run gets a challenge and GREETED seconds for one line. The number of waiting connections is bounded, in all and
for each address. A new one replaces a random one, so a flood cannot push a node out for certain. Threads are started
only after a proof, and their number is bounded.
"""

from __future__ import annotations

import contextlib
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from . import protocol
from .addresses import plain_address
from .protocol import LINE, Question
from .secret import RunKey

GREETED = 5.0  # seconds for a question
WAITING, OF_ONE = 256, 64  # connections without a proof: in all, and from one address
BATCH = 64  # connections that are accepted between two looks at the questions
TICK = 0.2
DOUBTS = 64  # addresses whose mistakes are remembered
OLDER = "speaks the protocol of version 0.1: converge all nodes of the run together"
OTHER = "holds another secret of the run: converge all nodes of the run together"


@dataclass
class Visitor:
    connection: socket.socket
    address: str
    until: float
    challenge: str
    line: bytes = b""


class Door:
    """Calls `answer` in a thread of its own for each question that was asked by right; it closes the connection."""

    def __init__(
        self,
        listening: socket.socket,
        allowed: Callable[[str], bool],
        key: RunKey,
        answer: Callable[[socket.socket, Question], None],
        at_once: int,
    ) -> None:
        self._listening, self._allowed, self._key, self._answer = listening, allowed, key, answer
        self._free = threading.BoundedSemaphore(at_once)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listening, selectors.EVENT_READ)
        self._waiting: dict[int, Visitor] = {}
        self._closed = threading.Event()
        self.doubts: dict[str, str] = {}  # address -> what is wrong with its questions
        self.refused = 0  # strangers
        self._thread = threading.Thread(target=self._look_after, name="peers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # the thread looks at once
        self._thread.join(10 * TICK)

    def _look_after(self) -> None:
        while not self._closed.is_set():
            for key, _events in self._selector.select(TICK):
                if key.data is None:
                    self._accept()
                elif (one := self._waiting.get(key.fd)) is not None and one is key.data:  # had not to go meanwhile
                    self._read(one)
            now = time.monotonic()
            for late in [one for one in self._waiting.values() if one.until < now]:
                self._dismiss(late)
        for one in list(self._waiting.values()):
            self._dismiss(one)
        self._selector.close()
        self._listening.close()

    def _accept(self) -> None:
        for _again in range(BATCH):
            try:
                connection, found = self._listening.accept()
            except BlockingIOError:
                return
            except OSError:  # no file descriptor left, or it hung up at once
                time.sleep(TICK / 10)
                return
            connection.setblocking(False)
            self._greet(connection, plain_address(str(found[0])))

    def _greet(self, connection: socket.socket, address: str) -> None:
        if not self._allowed(address):
            self.refused += 1
            _last_words(connection, protocol.greeting(f"{address} is not an address of the run"))
            return
        self._make_space(address)
        one = Visitor(connection, address, time.monotonic() + GREETED, secrets.token_hex(16))
        try:
            connection.send(protocol.greeting(protocol.OLDER, one.challenge))
        except OSError:
            connection.close()
            return
        self._waiting[connection.fileno()] = one
        self._selector.register(connection, selectors.EVENT_READ, one)

    def _make_space(self, address: str) -> None:
        of_one = [one for one in self._waiting.values() if one.address == address]
        if len(of_one) >= OF_ONE:
            self._dismiss(secrets.choice(of_one))
        elif len(self._waiting) >= WAITING:
            self._dismiss(secrets.choice(list(self._waiting.values())))

    def _dismiss(self, one: Visitor) -> None:
        self._release(one)
        one.connection.close()

    def _release(self, one: Visitor) -> None:
        del self._waiting[one.connection.fileno()]
        self._selector.unregister(one.connection)

    def _read(self, one: Visitor) -> None:
        try:
            block = one.connection.recv(LINE - len(one.line))  # nothing, where a line is too long
        except BlockingIOError:
            return
        except OSError:
            block = b""
        one.line += block
        if not block:
            self._dismiss(one)
        elif b"\n" in one.line:
            self._judge(one)

    def _judge(self, one: Visitor) -> None:
        question = protocol.parse_question(one.line)
        if question is None:
            if one.line.startswith(b"GET /"):
                self._doubt(one.address, OLDER)
            return self._dismiss(one)
        if not protocol.asks_by_right(self._key, one.challenge, question):
            self._doubt(one.address, OTHER)
            self._release(one)
            return _last_words(one.connection, protocol.OTHER_SECRET)
        self.doubts.pop(one.address, None)
        self._release(one)
        if not self._free.acquire(blocking=False):
            return one.connection.close()
        threading.Thread(target=self._answered, args=(one.connection, question), daemon=True).start()
        return None

    def _doubt(self, address: str, what: str) -> None:
        if address in self.doubts or len(self.doubts) < DOUBTS:
            self.doubts[address] = what

    def _answered(self, connection: socket.socket, question: Question) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # a node that hung up is no news
                self._answer(connection, question)
        finally:
            self._free.release()


def _last_words(connection: socket.socket, text: bytes) -> None:
    """Said without waiting: a new connection has room for them."""
    with connection, contextlib.suppress(OSError):
        connection.send(text)
