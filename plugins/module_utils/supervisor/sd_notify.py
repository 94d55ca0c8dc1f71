"""systemd's notification protocol (sd_notify(3)), as far as the supervisor speaks it. Standard library only."""

from __future__ import annotations

import socket
from collections.abc import MutableMapping

from ..core import shown

OWN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
STATUS_LIMIT = 500  # characters of the status line


class Notifier:
    """Sends to the socket that the environment names, and takes its name away: it is not for the children.

    Without a socket nothing is sent. A message that cannot be delivered is lost: the service manager's own limits then
    decide, as they do for a program that hangs.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        for name in OWN:
            environment.pop(name, None)
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        self._status = ""

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        """The line of `systemctl status`; sent when it differs from the one before."""
        line = shown.line(" ".join(text.split()))[:STATUS_LIMIT]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self, limit: float) -> None:
        """A sign of life; the next one has to come within `limit` seconds."""
        self._send(f"WATCHDOG=1\nWATCHDOG_USEC={int(limit * 1e6)}")

    def extend(self, seconds: float) -> None:
        """The start or the stop that goes on may take this long from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            # A file name that is not UTF-8 must not end the training.
            self._socket.sendto(
                message.encode(errors="replace"), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, self._address
            )
        except OSError:
            return
