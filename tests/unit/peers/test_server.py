"""What the first node tells, and to whom: its own run, the offered files, its heartbeat."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import seal as checkpoint_seal
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.seal import Place
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.peers import group as peers
from ansible_collections.canvas.fleet.plugins.module_utils.peers import server as peers_server
from ansible_collections.canvas.fleet.plugins.module_utils.peers.client import Client, UnreachableError
from ansible_collections.canvas.fleet.plugins.module_utils.peers.server import Heartbeat, Offer, Server, allowed_by
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support import saves
from tests.unit.support.nodes import Node, node_group, offered, port, start

pytestmark = pytest.mark.usefixtures("impatient")


# who may ask, and for what


def test_an_address_that_is_none_of_the_runs_is_refused() -> None:
    made = Server(0, allowed_by(("10.1.2.3",)), Heartbeat())
    try:
        with pytest.raises(FleetError) as error:
            Client("127.0.0.1", port(made)).ask("/start")
    finally:
        made.close()
    assert "127.0.0.1 is none of the run's addresses" in error.value.found
    assert error.value.variable == "training_peer_networks"


@pytest.mark.parametrize(
    ("hosts", "networks", "address", "expected"),
    [
        (("10.1.2.3",), (), "10.1.2.3", True),
        (("10.1.2.3",), (), "10.1.2.4", False),
        (("localhost",), (), "127.0.0.1", True),
        (("10.1.2.3",), ("192.168.0.0/16",), "192.168.7.7", True),
        (("10.1.2.3",), ("192.168.0.0/16",), "192.169.7.7", False),
        (("no-such-host.invalid",), (), "10.1.2.3", False),
    ],
)
def test_who_may_ask(hosts: tuple[str, ...], networks: tuple[str, ...], address: str, expected: bool) -> None:
    assert allowed_by(hosts, networks)(address) is expected


@pytest.mark.parametrize(
    "path",
    [
        "/file/40/../../secret", "/file/40/..%2f..%2fsecret", "/file/40/%2fetc%2fpasswd", "/file/20/scheduler.pt",
        "/file/40/nothing", "/file//scheduler.pt", "/", "/file/40", "/sha256/40/x", "/start/40/scheduler.pt",
    ],
)  # fmt: skip
def test_nothing_but_the_offered_files_is_served(master: Node, server: Server, path: str) -> None:
    offered(master, server)
    (master.root / "secret").write_text("no")
    connection = http.client.HTTPConnection("127.0.0.1", port(server), timeout=5)
    connection.request("GET", path)
    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize("change", ["longer", "shorter", "gone"])
def test_a_file_that_is_not_as_it_was_offered_is_not_served(master: Node, server: Server, change: str) -> None:
    offer = offered(master, server)
    path = Path(offer.folder) / "scheduler.pt"
    text = path.read_bytes()
    path.unlink()
    if change != "gone":
        path.write_bytes(text + b"x" if change == "longer" else text[:-1])
    with pytest.raises(UnreachableError, match="404" if change == "gone" else "416"):
        list(Client("127.0.0.1", port(server)).blocks("/file/40/scheduler.pt"))


@pytest.mark.parametrize(("begin", "expected"), [(1, "206"), (10**6, "416")])
def test_a_part_of_a_file_begins_where_it_was_asked_to(master: Node, server: Server, begin: int, expected: str) -> None:
    offered(master, server)
    client, text = Client("127.0.0.1", port(server)), saves.content("scheduler.pt", 40)
    if expected == "206":
        assert b"".join(client.blocks("/file/40/scheduler.pt", begin)) == text[begin:]
    else:
        with pytest.raises(UnreachableError, match=expected):
            list(client.blocks("/file/40/scheduler.pt", begin))


@given(path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
def test_no_path_of_a_request_reaches_the_disk(path: str) -> None:
    handler = peers_server.Handler.__new__(peers_server.Handler)
    said: list[int] = []
    offer = Offer("a", 2, "copy", True, "x", 40, "/nowhere", ({"name": "scheduler.pt", "size": 1},))
    handler.server = type("S", (), {"offer": offer, "allowed": staticmethod(lambda _: True)})()
    handler.client_address, handler.path = ("127.0.0.1", 1), f"/file/40/{path}"
    handler._say = lambda status, answer: said.append(status)
    handler._file = lambda *_: said.append(200)
    handler.do_GET()
    assert said == [200 if path in ("scheduler.pt",) else 404] or "?" in path or "#" in path or "%" in path


def test_only_what_brings_a_node_nearer_to_its_start_is_news(master: Node, server: Server) -> None:
    offer, client = offered(master, server), Client("127.0.0.1", port(server))

    def is_news(path: str) -> bool:
        before = offer.seen
        list(client.blocks(path))
        return offer.seen != before

    ready = f"/ready?rank=1&attempt={offer.attempt}"
    asked = ("/start?rank=1", "/sha256/40/scheduler.pt", "/file/40/scheduler.pt", ready, ready, "/alive")
    assert [is_news(path) for path in asked] == [True, True, True, True, False, False]


def test_before_a_decision_nothing_is_told(server: Server) -> None:
    with pytest.raises(UnreachableError, match="503"):
        Client("127.0.0.1", port(server)).ask("/start")


def test_a_port_that_is_taken_is_told_by_its_variable(server: Server) -> None:
    with pytest.raises(FleetError) as error:
        Server(port(server), allowed_by(()), Heartbeat())
    assert error.value.variable == "training_peer_port"


# who is alive


def test_the_first_nodes_heart_beats_by_its_log(tmp_path: Path) -> None:
    clock = [100.0]
    heartbeat = Heartbeat(str(tmp_path / "log.txt"), lambda: clock[0])
    assert heartbeat.state()["step"] is None
    (tmp_path / "log.txt").write_text("x (step=0000007) Train Loss\n(step=0000008) Train Loss ce: 1\nSaving\n")
    assert heartbeat.state() == {"doing": "", "step": 8, "age": 0.0}
    clock[0] += 42
    assert heartbeat.state()["age"] == 42.0


def test_what_the_supervisor_notes_outweighs_the_log(tmp_path: Path) -> None:
    clock = [0.0]
    (tmp_path / "log.txt").write_text("(step=0000007)")
    heartbeat = Heartbeat(str(tmp_path / "log.txt"), lambda: clock[0])
    heartbeat.note("saving", 20)
    clock[0] += 5
    heartbeat.note("saving", 20)
    assert heartbeat.state() == {"doing": "saving", "step": 20, "age": 5.0}


def test_a_node_sees_whether_the_first_one_is_in_its_attempt(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "node", 1, port(server))
    start(master, server, node)
    server.heartbeat.note("training", 41)
    state = peers.alive(node.node_group, node.place)
    assert state is not None
    assert (state["same"], state["step"], state["doing"]) == (True, 41, "training")
    offered(master, server)
    state = peers.alive(node.node_group, node.place)
    assert state is not None
    assert state["same"] is False


def test_a_first_node_that_is_gone_is_none(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        silent = free.getsockname()[1]
    assert peers.alive(node_group(1, silent), Place(str(tmp_path), str(tmp_path))) is None


def test_known_digests_are_not_computed_again(master: Node, server: Server) -> None:
    manifest = checkpoint_seal.read_manifest(master.place, 40)
    assert manifest is not None
    manifest["files"]["scheduler.pt"]["sha256"] = "f" * 64
    checkpoint_seal.write_manifest(master.place, manifest)
    assert offered(master, server).digests == {"scheduler.pt": "f" * 64}
    assert Client("127.0.0.1", port(server)).ask("/sha256/40/scheduler.pt") == {"sha256": "f" * 64}
