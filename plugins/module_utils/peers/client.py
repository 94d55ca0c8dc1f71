"""A node's questions to the first node of its run."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..checkpoints.errors import PeersError

BLOCK = 1 << 20


class UnreachableError(Exception):
    """The first node does not answer, has not decided yet, or has begun another start meanwhile."""


class Client:
    """Plain HTTP, past every proxy. timeout: seconds without a byte."""

    def __init__(self, host: str, port: int, timeout: float = 20.0) -> None:
        self._host, self._port, self._timeout = host, port, timeout

    def ask(self, path: str) -> dict[str, Any]:
        """Raises UnreachableError; PeersError when the first node refuses this node's address."""
        try:
            found = json.loads(b"".join(self.blocks(path)))
        except ValueError as error:
            raise UnreachableError("not the answer of a first node") from error
        if not isinstance(found, dict):
            raise UnreachableError("not the answer of a first node")
        return found

    def blocks(self, path: str, begin: int = 0) -> Iterator[bytes]:
        """Content from byte `begin` on. Raises as ask() does, also in the middle when the connection ends early."""
        with _as_unreachable(), self._connected() as connection:
            connection.request("GET", path, headers={"Range": f"bytes={begin}-"} if begin else {})
            response = connection.getresponse()
            if response.status == 403:
                raise _refused(response)
            if response.status != (206 if begin else 200):
                raise UnreachableError(f"status {response.status}")
        try:
            while True:
                with _as_unreachable():
                    block = response.read(BLOCK)
                if not block:
                    break
                yield block
            if response.length:
                raise UnreachableError(f"the connection ended {response.length} bytes early")
        finally:
            connection.close()

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that is closed when the question fails, and else stays open for its answer."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise


@contextmanager
def _as_unreachable() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(str(error) or type(error).__name__) from error


def _refused(response: http.client.HTTPResponse) -> PeersError:
    return PeersError(
        "the first node refuses this one",
        variable="training_peer_networks",
        found=response.read(1000).decode(errors="replace"),
        expected="an address of the run's hosts, or in a network of training_peer_networks",
    )
