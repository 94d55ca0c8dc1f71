"""A first node that lies, trickles, or never ends: what a node believes of it, and how the start ends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.errors import PeersError
from ansible_collections.canvas.fleet.plugins.module_utils.peers import client as peers_client
from ansible_collections.canvas.fleet.plugins.module_utils.peers import group as peers
from ansible_collections.canvas.fleet.plugins.module_utils.peers import protocol
from ansible_collections.canvas.fleet.plugins.module_utils.peers.client import Client, MismatchError, UnreachableError
from ansible_collections.canvas.fleet.plugins.module_utils.peers.protocol import Question
from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import RunKey, run_key
from ansible_collections.canvas.fleet.plugins.module_utils.peers.server import Reply, Server

from tests.unit.support.nodes import KEY, Node, client, offered, port
from tests.unit.support.saves import everything

pytestmark = pytest.mark.usefixtures("impatient")
Answering = Callable[[socket.socket, str], None]


class FirstNode:
    """Speaks the protocol up to the question, and answers as the test says."""

    def __init__(self, answering: Answering, key: RunKey = KEY) -> None:
        self.key, self._answering = key, answering
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.sendall(protocol.greeting("no", "c" * 32))
                question = protocol.parse_question(connection.recv(protocol.LINE))
                assert question
                self._answering(connection, question.proof)
        except OSError:
            pass

    def close(self) -> None:
        self._listening.close()

    def ask(self, timeout: float = 2.0) -> dict[str, Any]:
        return Client("127.0.0.1", self.port, KEY, timeout).ask("/alive")

    def content(self, size: int) -> bytes:
        return b"".join(Client("127.0.0.1", self.port, KEY, 2.0).blocks("/file/40/x", 0, size))


@pytest.fixture
def first_node() -> Iterator[Callable[[Answering], FirstNode]]:
    made: list[FirstNode] = []

    def make(answering: Answering, key: RunKey = KEY) -> FirstNode:
        made.append(FirstNode(answering, key))
        return made[-1]

    yield make
    for one in made:
        one.close()


def proved(body: bytes, key: RunKey = KEY, **changes: Any) -> Answering:
    def answer(connection: socket.socket, asked: str) -> None:
        told = {"status": 200, "length": len(body), "digest": protocol.digest_of(body), **changes}
        connection.sendall(protocol.head_line(key, asked, *told.values()) + body)

    return answer


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (b"[]", {}), (b"nothing", {}), (b"[" * 200_000, {}), (b'{"a":' * 40_000, {}), (b"{}", {"digest": "0" * 64}),
        (b"{}", {"digest": protocol.CONTENT}), (b"{}", {"status": 503}), (b"{}", {"length": 3}),
        (b"{}", {"length": 10**17}), (b" " * (1 << 18) + b"{}", {}), (b"\xff", {}),
    ],
    ids=["no mapping", "no JSON", "nested lists", "nested mappings", "another digest", "no digest", "another status",
         "cut", "without end", "too long", "no text"],
)  # fmt: skip
def test_an_answer_that_is_none_is_no_answer(first_node: Any, body: bytes, changes: dict[str, Any]) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError):
        first_node(proved(body, **changes)).ask()
    assert time.monotonic() - began < 5


def test_what_is_proved_is_believed(first_node: Any) -> None:
    assert first_node(proved(b'{"a": 1}')).ask() == {"a": 1}


@pytest.mark.parametrize("key", [run_key("00" * 32, "a"), run_key("5e" * 32, "b")], ids=["secret", "run"])
def test_an_answer_without_the_secret_is_not_believed(first_node: Any, key: RunKey) -> None:
    with pytest.raises(MismatchError, match="cannot prove"):
        first_node(proved(b'{"a": 1}', key)).ask()


def test_an_answer_to_another_question_is_not_believed(first_node: Any) -> None:
    recorded: list[bytes] = []

    def replay(connection: socket.socket, asked: str) -> None:
        recorded.append(protocol.head_line(KEY, asked, 200, 2, protocol.digest_of(b"{}")) + b"{}")
        connection.sendall(recorded[0])

    node = first_node(replay)
    assert node.ask() == {}
    with pytest.raises(MismatchError, match="cannot prove"):
        node.ask()


def trickle(text: bytes) -> Answering:
    def answer(connection: socket.socket, asked: str) -> None:
        whole = protocol.head_line(KEY, asked, 200, len(text), protocol.digest_of(text)) + text
        for at in range(len(whole)):
            connection.sendall(whole[at : at + 1])
            time.sleep(0.05)

    return answer


def test_an_answer_that_trickles_has_an_end(first_node: Any) -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="no whole answer in time"):
        first_node(trickle(b'{"a": 1}' * 100)).ask(timeout=1.0)
    assert time.monotonic() - began < 3


def test_content_that_trickles_ends_in_a_class_that_is_tried_again(
    first_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_client, "WINDOW", 0.5)

    def answer(connection: socket.socket, asked: str) -> None:
        connection.sendall(protocol.head_line(KEY, asked, 200, 10**9, protocol.CONTENT))
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    with pytest.raises(PeersError, match="too slowly") as error:
        first_node(answer).content(10**9)
    assert (error.value.retry, error.value.kind) == (True, "PEERS_MISSING")


@pytest.mark.parametrize("length", [0, 9, 11, 10**15])
def test_content_has_the_length_that_was_announced(first_node: Any, length: int) -> None:
    def answer(connection: socket.socket, asked: str) -> None:
        connection.sendall(protocol.head_line(KEY, asked, 200, length, protocol.CONTENT) + b"x" * 10)

    with pytest.raises(UnreachableError, match="instead of the announced 10"):
        first_node(answer).content(10)


def test_content_ends_where_it_was_said_to_end(first_node: Any) -> None:
    def answer(connection: socket.socket, asked: str) -> None:
        connection.sendall(protocol.head_line(KEY, asked, 200, 10, protocol.CONTENT) + b"x" * 10**6)

    assert first_node(answer).content(10) == b"x" * 10


# a start with such a first node


def test_a_start_whose_downloads_are_always_cut_has_an_end(
    tmp_path: Path, master: Node, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "CUTS", 3)
    node, real = Node(tmp_path / "node", 1, port(server)), server.reply
    offered(master, server)
    monkeypatch.setattr(
        server, "reply", lambda question: Reply(404) if question.path.startswith("/file") else real(question)
    )
    node.join().join(20)
    assert isinstance(node.error, PeersError)
    assert "cannot be fetched" in str(node.error)


@pytest.mark.parametrize(
    "name", ["../../../../train.sh", "/etc/cron.d/x", "best", "..", "", "model.safetensors/../../x", ".part", "x\ny"]
)
def test_no_name_of_the_first_node_leads_out_of_the_checkpoint(
    tmp_path: Path, master: Node, server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As a first node in foreign hands would: it holds the secret, and offers a file of another name."""
    node, real = Node(tmp_path / "node", 1, port(server)), server.reply
    (tmp_path / "train.sh").write_text("mine")
    offer = offered(master, server)

    def reply(question: Question) -> Reply:
        if not question.path.startswith("/start"):
            return real(question)
        files = [*offer.as_answer()["files"], {"name": name, "size": 4, "mark": "0" * 64}]
        return Reply(200, json.dumps({**offer.as_answer(), "files": files}).encode())

    monkeypatch.setattr(server, "reply", reply)
    node.join().join(20)
    assert isinstance(node.error, PeersError)
    assert (tmp_path / "train.sh").read_text() == "mine"
    assert everything(node.root) == {}


# versions and secrets that are mixed


class VersionOne(BaseHTTPRequestHandler):
    """A first node of version 0.1: waits for a request of HTTP, and proves nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        text = b'{"attempt": "ab", "phase": "training"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def test_a_first_node_of_version_01_ends_the_wait_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MIXED", 0.5)
    monkeypatch.setattr(peers, "Client", lambda host, port, key: Client(host, port, key, 0.4))
    old = HTTPServer(("127.0.0.1", 0), VersionOne)
    threading.Thread(target=old.serve_forever, args=(0.05,), daemon=True).start()
    node = Node(tmp_path / "node", 1, old.server_port)
    node.join().join(20)
    old.shutdown()
    assert isinstance(node.error, PeersError)
    assert "which speaks version 0.1" in node.error.found
    assert node.error.remedy == peers.TOGETHER


def test_a_first_node_with_another_secret_ends_the_wait_with_what_to_do(
    tmp_path: Path, master: Node, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MIXED", 0.5)
    node = Node(tmp_path / "node", 1, port(server), key=run_key("00" * 32, "a"))
    offered(master, server)
    node.join().join(20)
    assert isinstance(node.error, PeersError)
    assert "which holds another secret of the run" in node.error.found
    assert node.error.remedy == peers.TOGETHER


def test_the_first_node_says_what_is_wrong_with_who_came(master: Node, server: Server) -> None:
    with pytest.raises(MismatchError):
        Client("127.0.0.1", port(server), run_key("00" * 32, "a")).ask("/start")
    told = peers._missing(master.node_group, [1], server.door.doubts)
    assert told == (
        "nodes 1 (127.0.0.1); 127.0.0.1 holds another secret of the run: converge all nodes of the run together"
    )


def test_a_silent_port_is_no_first_node() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(UnreachableError):
        Client("127.0.0.1", silent.getsockname()[1], KEY, 1.0).ask("/alive")
    silent.close()


def test_a_question_reaches_the_server(server: Server, master: Node) -> None:
    offer = offered(master, server)
    assert client(server).ask("/start")["attempt"] == offer.attempt
