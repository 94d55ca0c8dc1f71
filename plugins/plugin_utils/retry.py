# SPDX-License-Identifier: Apache-2.0
"""Ask a host again while its connection is lost, and wait for no answer without end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Protocol

from ansible.errors import AnsibleConnectionFailure

ANSWER = 300.0  # seconds for a host to say what it sees; its own limits (limits.py) end long before
# Time does not mend these.
HOPELESS = ("host key verification failed", "permission denied", "identification has changed")


class Clock(Protocol):
    """The part of the module `time` that waiting needs."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float, /) -> None: ...


@contextlib.contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    """A host that keeps its connection and never answers counts as unreachable: nobody else waits for it."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AnsibleConnectionFailure(f"no answer within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def retry_connection(
    ask: Callable[[], dict[str, Any]],
    reset: Callable[[], Any],
    *,
    seconds: float,
    clock: Clock,
    show: Callable[[str], Any],
    given_up: str,
) -> dict[str, Any]:
    """The answer of `ask`; a connection that is lost is tried again for so many seconds.

    Raises AnsibleConnectionFailure with the words `given_up`, so that the host counts as unreachable; at once, with
    ssh's message, when waiting cannot help.
    """
    lost = 0.0
    while True:
        try:
            return ask()
        except AnsibleConnectionFailure as failure:
            if any(word in str(failure).lower() for word in HOPELESS):
                raise
            now = clock.monotonic()
            if not lost:
                lost = now
                show(f"no connection; tries for {seconds:.0f} s")
            if now - lost >= seconds:
                raise AnsibleConnectionFailure(given_up) from failure
            clock.sleep(min(2.0, seconds / 5))
            with contextlib.suppress(Exception):
                reset()
