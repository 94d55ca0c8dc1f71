"""Who gets past the first node's door, and what those cost who do not."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.errors import PeersError
from ansible_collections.canvas.fleet.plugins.module_utils.peers import door as peers_door
from ansible_collections.canvas.fleet.plugins.module_utils.peers import protocol
from ansible_collections.canvas.fleet.plugins.module_utils.peers.client import Client, MismatchError, UnreachableError
from ansible_collections.canvas.fleet.plugins.module_utils.peers.protocol import Question
from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import run_key
from ansible_collections.canvas.fleet.plugins.module_utils.peers.server import AT_ONCE, Offer, Reply, Server

from tests.unit.support.nodes import KEY, SECRET, client, serving
from tests.unit.support.supervised import wait_for

STRANGER = "127.0.0.2"


@pytest.fixture
def server() -> Iterator[Server]:
    made = serving()
    made.make(Offer("a", 2, "copy", True, "ab"))
    yield made
    made.close()


def connected(server: Server, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10, source_address=(source, 0))


def everything(connection: socket.socket) -> bytes:
    """All that comes until the other side closes; a reset counts as that."""
    parts = []
    try:
        while block := connection.recv(4096):
            parts.append(block)
    except ConnectionError:
        pass
    return b"".join(parts)


def greeted(connection: socket.socket) -> str:
    text = connection.recv(protocol.LINE)
    found = protocol.CHALLENGE.search(text)
    assert found
    return found[1].decode()


def line(challenge: str, path: str = "/alive", secret: str = SECRET) -> bytes:
    return protocol.question_line(run_key(secret, "a"), challenge, (path, 0, "0" * 32))[0]


@contextmanager
def threads_seen() -> Iterator[list[int]]:
    """How many threads there were more than at the beginning, at most."""
    before, most, end = threading.active_count(), [0], threading.Event()

    def look() -> None:
        while not end.wait(0.001):
            most[0] = max(most[0], threading.active_count() - before - 1)

    watcher = threading.Thread(target=look)
    watcher.start()
    yield most
    end.set()
    watcher.join()


def test_a_stranger_is_refused_unread_and_without_a_thread(server: Server) -> None:
    with threads_seen() as threads, connected(server, STRANGER) as stranger:
        said = everything(stranger)
    assert b"127.0.0.2 is not an address of the run" in said
    assert not protocol.CHALLENGE.search(said)
    wait_for(lambda: server.door.refused == 1)
    assert threads == [0]


@pytest.mark.parametrize(
    "text",
    [b"GET / HTTP/1.1\r\n\r\n", b"\n", b"x" * (protocol.LINE + 1), b"fleet-peers/2 /alive 0 - -\n", b"\0" * 9 + b"\n"],
    ids=["version 0.1", "an empty line", "no end", "no proof", "NUL"],
)  # fmt: skip
def test_who_proves_nothing_is_told_nothing(server: Server, text: bytes) -> None:
    with threads_seen() as threads, connected(server) as asking:
        greeted(asking)
        asking.sendall(text)
        assert everything(asking) == b""
    assert threads == [0]


@pytest.mark.parametrize(
    ("key", "run"), [("00" * 32, "a"), (SECRET, "b")], ids=["another secret", "the same for another run"]
)
def test_who_holds_another_secret_is_told_so_and_no_more(server: Server, key: str, run: str) -> None:
    asking = Client("127.0.0.1", server.port, run_key(key, run))
    with threads_seen() as threads, pytest.raises(MismatchError, match="another secret"):
        asking.ask("/alive")
    assert threads == [0]
    assert server.door.doubts == {"127.0.0.1": peers_door.OTHER}
    client(server).ask("/alive")
    assert server.door.doubts == {}


def test_a_recorded_question_is_worth_nothing(server: Server) -> None:
    with connected(server) as first:
        recorded = line(greeted(first))
        first.sendall(recorded)
        assert b" 200 " in everything(first)
    with connected(server) as again:
        greeted(again)
        again.sendall(recorded)
        assert everything(again) == protocol.OTHER_SECRET


@pytest.mark.parametrize("changed", [(b"/alive", b"/start"), (b" 0 ", b" 1 "), (b"0" * 32, b"1" * 32)])
def test_a_question_cannot_be_changed_on_its_way(server: Server, changed: tuple[bytes, bytes]) -> None:
    with connected(server) as asking:
        asking.sendall(line(greeted(asking)).replace(*changed, 1))
        assert everything(asking) == protocol.OTHER_SECRET


def test_a_question_that_trickles_has_an_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_door, "GREETED", 0.4)
    began = time.monotonic()
    with connected(server) as slow:
        greeted(slow)
        try:
            while time.monotonic() - began < 5:
                slow.sendall(b"f")
                time.sleep(0.05)
        except ConnectionError:
            pass
    assert time.monotonic() - began < 3


def test_so_many_wait_and_no_more_and_the_next_is_served_all_the_same(server: Server) -> None:
    held = [connected(server) for _ in range(3 * peers_door.OF_ONE)]
    wait_for(lambda: len(server.door._waiting) == peers_door.OF_ONE)
    assert client(server).ask("/alive")["attempt"] == "ab"
    assert len(server.door._waiting) <= peers_door.OF_ONE
    for one in held:
        one.close()


def test_addresses_of_a_network_share_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_door, "WAITING", 10)
    made = serving(*(f"127.0.0.{number}" for number in range(1, 60)))
    held = [connected(made, f"127.0.0.{number}") for number in range(1, 60)]
    wait_for(lambda: len(made.door._waiting) == 10)
    time.sleep(0.1)
    assert len(made.door._waiting) == 10
    made.close()
    for one in held:
        one.close()


def test_so_many_questions_are_answered_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def reply(_question: Question) -> Reply:
        release.wait(10)
        return Reply(200, b"{}")

    monkeypatch.setattr(server, "reply", reply)
    asking = [connected(server) for _ in range(3 * AT_ONCE + 5)]
    with threads_seen() as threads:
        for one in asking:
            one.sendall(line(greeted(one)))
        wait_for(lambda: threads[0] == 3 * AT_ONCE)
        time.sleep(0.1)
        release.set()
    answers = [everything(one) for one in asking]
    assert threads == [3 * AT_ONCE]
    assert sorted(map(bool, answers)) == [False] * 5 + [True] * 3 * AT_ONCE


def test_a_reply_that_is_not_taken_has_an_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.canvas.fleet.plugins.module_utils.peers.server.SEND", 0.3)
    monkeypatch.setattr(server, "reply", lambda _: Reply(200, bytes(1 << 25)))
    with threads_seen() as threads, connected(server) as asking:
        asking.sendall(line(greeted(asking)))
        wait_for(lambda: threads[0] == 1)
        wait_for(lambda: not any(one.name.endswith("(_answered)") for one in threading.enumerate()), 5)


# versions that are mixed


def test_a_node_of_version_01_is_told_to_converge(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/start?rank=1&last=")
    answer = connection.getresponse()
    assert (answer.status, b"converge all nodes of the run together" in answer.read()) == (403, True)
    connection.close()
    wait_for(lambda: server.door.doubts == {"127.0.0.1": peers_door.OLDER})


def test_a_refused_nodes_error_names_its_address_and_the_variable() -> None:
    made = serving("10.1.2.3")
    with pytest.raises(PeersError, match=r"training_peer_networks.*127\.0\.0\.1 is not an address of the run"):
        client(made).ask("/start")
    made.close()


# a flood


def test_a_flood_costs_no_thread_and_no_answer(server: Server) -> None:
    """The full one, under a training: tests/integration/test_flood.py."""
    held: list[socket.socket] = []
    answers = 0
    with threads_seen() as threads:
        for number in range(300):
            held += [connected(server, STRANGER), connected(server)]
            if number % 30 == 0:
                for _ in range(20):
                    try:
                        answers += client(server, 5).ask("/alive")["attempt"] == "ab"
                        break
                    except UnreachableError:
                        continue
    assert answers == 10
    assert threads[0] <= 1
    assert len(server.door._waiting) <= peers_door.OF_ONE
    wait_for(lambda: server.door.refused == 300)
    for one in held:
        one.close()


def test_the_proof_covers_the_run(server: Server) -> None:
    assert KEY.proof("question", "x") != run_key(SECRET, "b").proof("question", "x")
    assert KEY.proof("question", "x") != KEY.proof("answer", "x")
    assert "5e5e" not in repr(KEY)
