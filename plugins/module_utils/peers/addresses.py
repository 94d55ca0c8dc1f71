"""Addresses that may ask, and the address at which the first node listens."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from ..checkpoints.errors import PeersError
from ..core.errors import FleetError

RENEW = 10.0  # seconds between two look-ups of the hosts' names
BACKLOG = 256
ANY = "all addresses of this host"


class Allowed:
    """Is an address one of the run's hosts, or in one of the networks that the user named?

    Names are resolved again in a thread from time to time, because a host may come back with another address. A foreign
    connection costs no look-up. Raises FleetError for an invalid network.
    """

    def __init__(self, hosts: Iterable[str], networks: Iterable[str] = ()) -> None:
        self._hosts = tuple(hosts)
        try:
            self._networks = [ipaddress.ip_network(text, strict=False) for text in networks]
        except ValueError as error:
            raise FleetError(
                "a network cannot be parsed", variable="training_peer_networks", found=str(error)
            ) from error
        self._known = _resolved(self._hosts)
        self._renewed = time.monotonic()
        self._thread: threading.Thread | None = None

    def __call__(self, address: str) -> bool:
        if address in self._known or self._in_network(address):
            return True
        if time.monotonic() - self._renewed >= RENEW and not (self._thread and self._thread.is_alive()):
            self._renewed = time.monotonic()
            self._thread = threading.Thread(target=self._renew, daemon=True)
            self._thread.start()
        return False

    def _renew(self) -> None:
        self._known = self._known | _resolved(self._hosts)

    def _in_network(self, address: str) -> bool:
        return bool(self._networks) and any(ipaddress.ip_address(address) in network for network in self._networks)


def plain_address(address: str) -> str:
    """An IPv4 address that came over an IPv6 socket, as itself."""
    return address[7:] if address.startswith("::ffff:") else address


def listen(master: str, hosts: Sequence[str], port: int) -> tuple[socket.socket, str]:
    """(a listening socket, where it listens): at the run's own address, and no other of this host.

    Where `master` means no address of this host (behind address translation), or loopback to it alone (a name in
    Debian's /etc/hosts): at all of them. Raises PeersError for a port that is taken.
    """
    try:
        for family, address in _own(master, hosts):
            with contextlib.suppress(_NotHereError):
                return _bound(family, address, port), address
        wide = any(":" in host for host in (*hosts, master))
        return _bound(socket.AF_INET6 if wide else socket.AF_INET, "", port), ANY
    except OSError as error:
        raise PeersError(
            "the port for the nodes of the run is taken",
            variable="training_peer_port",
            found=f"port {port}: {error.strerror}",
            expected="a free port, a different one for each run",
        ) from error


class _NotHereError(OSError):
    """The address is none of this host."""


def _own(master: str, hosts: Sequence[str]) -> Iterator[tuple[int, str]]:
    far = not all(map(_is_loopback, _resolved(hosts))) or not hosts
    for family, address in _lookup(master):
        if family in (socket.AF_INET, socket.AF_INET6) and not (far and _is_loopback(address)):
            yield family, address


def _bound(family: int, address: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if address else 0)
        made.bind((address, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _NotHereError(error.errno, error.strerror) from error
        raise
    return made


def _lookup(host: str) -> list[tuple[int, str]]:
    """(family, address) of each."""
    with contextlib.suppress(OSError, UnicodeError):
        return [(int(one[0]), str(one[4][0])) for one in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    return []


def _resolved(hosts: Iterable[str]) -> frozenset[str]:
    return frozenset(address for host in hosts for _family, address in _lookup(host))


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
