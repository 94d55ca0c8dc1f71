"""Where the first node listens."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.peers import addresses
from ansible_collections.canvas.fleet.plugins.module_utils.peers.addresses import ANY, Allowed, listen

from tests.unit.support.supervised import wait_for

AWAY = "203.0.113.7"  # of no host


@pytest.mark.parametrize(
    ("master", "hosts", "expected"),
    [
        ("127.0.0.3", ("127.0.0.3", "127.0.0.4"), "127.0.0.3"),
        ("127.0.0.1", ("127.0.0.1", AWAY), ANY),
        (AWAY, (AWAY, "203.0.113.8"), ANY),
        ("no-such-host.invalid", (AWAY,), ANY),
        ("::1", ("::1",), "::1"),
    ],
    ids=["its own", "a name that is loopback to itself alone", "behind translation", "no such name", "IPv6"],
)
def test_the_first_node_listens_at_its_own_address(master: str, hosts: tuple[str, ...], expected: str) -> None:
    listening, where = listen(master, hosts, 0)
    with listening:
        assert where == expected
        assert listening.getsockname()[0] == {ANY: socket.inet_ntoa(bytes(4))}.get(expected, expected)


def test_no_other_address_of_the_host_is_open() -> None:
    listening, _ = listen("127.0.0.3", ("127.0.0.3",), 0)
    with listening, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listening.getsockname()[1]), timeout=5)


def test_a_name_is_looked_up_anew_now_and_then_and_never_while_a_stranger_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    known = {"node1": "10.0.0.1"}
    slow = threading.Event()

    def look_up(host: str) -> frozenset[str]:
        asked.append(host)
        slow.wait(5)
        return frozenset({known[host]})

    monkeypatch.setattr(addresses, "_resolved", lambda hosts: frozenset().union(*map(look_up, hosts)))
    slow.set()
    allowed = Allowed(("node1",))
    slow.clear()
    assert not allowed("10.0.0.2")
    assert len(asked) == 1, "it was looked up a moment ago"
    monkeypatch.setattr(addresses, "RENEW", 0.0)
    known["node1"] = "10.0.0.2"
    began = time.monotonic()
    assert not any(allowed("10.0.0.2") for _ in range(1000))
    assert time.monotonic() - began < 2
    assert len(asked) == 2
    slow.set()
    wait_for(lambda: allowed("10.0.0.2"))
    assert allowed("10.0.0.1")
