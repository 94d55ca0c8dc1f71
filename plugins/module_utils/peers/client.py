"""A node's questions to the first node of its run. An answer counts only when the run's secret proves it."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any

from ..checkpoints.errors import PeersError
from ..core.progress import amount
from . import protocol
from .protocol import CHALLENGE, LINE, Head
from .secret import RunKey

BLOCK = 1 << 20
SLOW = 1 << 20  # bytes that have to come within …
WINDOW = 60.0  # … so many seconds, or all that are left
ANSWER = 1 << 18  # bytes of an answer at most, without the content of files


class UnreachableError(Exception):
    """The first node does not answer, has not decided yet, or has begun another start meanwhile."""


class MismatchError(UnreachableError):
    """The first node speaks another version, or holds another secret: it may be about to be started anew."""


class Stream:
    """Reads from a socket until a deadline."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._rest = connection, b""
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        """Restart the deadline. Raises nothing."""
        self._until = time.monotonic() + seconds

    def send(self, text: bytes) -> None:
        self._limit()
        self._connection.sendall(text)

    def until(self, end: bytes, limit: int = LINE) -> bytes:
        """Up to and with `end`. Raises UnreachableError when it does not come within `limit` bytes."""
        while end not in self._rest:
            if len(self._rest) >= limit:
                raise UnreachableError("not the answer of a first node")
            self._rest += self._receive(limit - len(self._rest))
        found, _mark, self._rest = self._rest.partition(end)
        return found + end

    def read(self, size: int) -> bytes:
        """At least one byte, at most `size`."""
        found, self._rest = (self._rest or self._receive(size)), b""
        found, self._rest = found[:size], found[size:]
        return found

    def exactly(self, size: int) -> bytes:
        parts, left = [], size
        while left:
            parts.append(self.read(left))
            left -= len(parts[-1])
        return b"".join(parts)

    def _receive(self, size: int) -> bytes:
        self._limit()
        try:
            block = self._connection.recv(size)
        except socket.timeout as error:  # TimeoutError from Python 3.10 on
            raise TimeoutError("no whole answer in time") from error
        if not block:
            raise UnreachableError("the connection ended early")
        return block

    def _limit(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer in time")
        self._connection.settimeout(left)


class Client:
    """timeout: seconds for a whole answer, without the content of files."""

    def __init__(self, host: str, port: int, key: RunKey, timeout: float = 20.0) -> None:
        self._host, self._port, self._key, self._timeout = host, port, key, timeout

    def ask(self, path: str) -> dict[str, Any]:
        """Raises UnreachableError; PeersError when the first node refuses this node's address."""
        try:
            with self._connected() as connection:
                stream = Stream(connection, self._timeout)
                found = self._json(stream, self._asked(stream, path, 0))
        except OSError as error:
            raise UnreachableError(str(error) or type(error).__name__) from error
        except (ValueError, RecursionError) as error:
            raise UnreachableError("not the answer of a first node") from error
        if not isinstance(found, dict):
            raise UnreachableError("not the answer of a first node")
        return found

    def blocks(self, path: str, begin: int, size: int) -> Iterator[bytes]:
        """Content of a file of `size` bytes from byte `begin` on. Raises as ask() does, also in the middle when the
        connection ends early; PeersError for content that trickles."""
        try:
            with self._connected() as connection:
                stream = Stream(connection, self._timeout)
                head = self._asked(stream, path, begin)
                if head.digest != protocol.CONTENT or head.length != size - begin:
                    raise UnreachableError(f"{head.length} bytes instead of the announced {size - begin}")
                yield from _content(stream, head.length)
        except OSError as error:
            raise UnreachableError(str(error) or type(error).__name__) from error

    def _connected(self) -> socket.socket:
        return socket.create_connection((self._host, self._port), timeout=self._timeout)

    def _asked(self, stream: Stream, path: str, begin: int) -> Head:
        """The head of the answer, which is proved to be the answer to this question."""
        challenge = self._challenge(stream)
        line, asked = protocol.question_line(self._key, challenge, (path, begin, secrets.token_hex(16)))
        stream.send(line)
        answer = stream.until(b"\n")
        if answer == protocol.OTHER_SECRET:
            raise MismatchError("holds another secret of the run")
        head = protocol.parse_head(answer)
        if head is None or not protocol.answers_by_right(self._key, asked, head):
            raise MismatchError("cannot prove that it holds the secret of the run")
        if head.status != 200:
            raise UnreachableError(f"status {head.status}")
        return head

    def _challenge(self, stream: Stream) -> str:
        stream.allow(self._timeout / 4)
        try:
            text = stream.until(b"\r\n\r\n")
        except TimeoutError:
            return _of_version_01(stream, self._timeout / 4)
        found, length = CHALLENGE.search(text), protocol.LENGTH.search(text)
        body = stream.exactly(min(int(length[1]), LINE)) if length else b""
        if not found:
            raise _refused(body) if text.startswith(b"HTTP/1.1 403 ") else UnreachableError("no first node answers")
        stream.allow(self._timeout)
        return found[1].decode()

    def _json(self, stream: Stream, head: Head) -> Any:
        if head.length > ANSWER:
            raise UnreachableError(f"an answer of {head.length} bytes")
        body = stream.exactly(head.length)
        if protocol.digest_of(body) != head.digest:
            raise UnreachableError("an answer that was changed on the network")
        return json.loads(body)


def _content(stream: Stream, length: int) -> Iterator[bytes]:
    left, window, since = length, 0, time.monotonic()
    stream.allow(WINDOW)
    while left:
        try:
            block = stream.read(min(BLOCK, left))
        except TimeoutError as error:
            if not window:
                raise
            raise PeersError(
                "the first node's checkpoint comes too slowly",
                found=f"{amount(window, 'B')} in {time.monotonic() - since:.0f} s",
                expected=f"{amount(SLOW, 'B')} in {WINDOW:.0f} s at least",
                remedy="look at the network between the nodes, and at the load of the first one",
            ) from error
        left, window = left - len(block), window + len(block)
        if window >= SLOW:
            window, since = 0, time.monotonic()
            stream.allow(WINDOW)
        yield block


def _of_version_01(stream: Stream, seconds: float) -> str:
    """A first node of version 0.1 waits for a question; its answer shows the version. Raises UnreachableError in any
    case."""
    stream.allow(seconds)
    stream.send(b"GET /alive HTTP/1.0\r\n\r\n")
    text = stream.until(b"\r\n\r\n")
    if text.startswith(b"HTTP/1.") and not CHALLENGE.search(text):
        raise MismatchError("speaks version 0.1")
    raise UnreachableError("the first node answers too late")


def _refused(said: bytes) -> PeersError:
    return PeersError(
        "the first node refuses this one",
        variable="training_peer_networks",
        found=said.decode(errors="replace"),
        expected="an address of the run's hosts, or in a network of training_peer_networks",
    )
