"""The first node's answers, and who gets them: its run, the offered files, its heartbeat."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import seal as checkpoint_seal
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.seal import Place
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.peers import group as peers
from ansible_collections.canvas.fleet.plugins.module_utils.peers.addresses import Allowed, listen
from ansible_collections.canvas.fleet.plugins.module_utils.peers.client import UnreachableError
from ansible_collections.canvas.fleet.plugins.module_utils.peers.protocol import Question
from ansible_collections.canvas.fleet.plugins.module_utils.peers.server import Heartbeat, Offer, Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.support import saves
from tests.unit.support.nodes import Node, client, node_group, offered, port, serving, start

pytestmark = pytest.mark.usefixtures("impatient")


# who may ask, and for what


def test_an_address_that_is_none_of_the_runs_is_refused() -> None:
    made = serving("10.1.2.3")
    try:
        with pytest.raises(FleetError) as error:
            client(made).ask("/start")
    finally:
        made.close()
    assert "127.0.0.1 is not an address of the run" in error.value.found
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
    assert Allowed(hosts, networks)(address) is expected


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
    with pytest.raises(UnreachableError, match="status 404"):
        client(server).ask(path)


@pytest.mark.parametrize("change", ["longer", "shorter", "gone"])
def test_a_file_that_is_not_as_it_was_offered_is_not_served(master: Node, server: Server, change: str) -> None:
    offer = offered(master, server)
    path = Path(offer.folder) / "scheduler.pt"
    text = path.read_bytes()
    path.unlink()
    if change != "gone":
        path.write_bytes(text + b"x" if change == "longer" else text[:-1])
    with pytest.raises(UnreachableError, match="404" if change == "gone" else "416"):
        list(client(server).blocks("/file/40/scheduler.pt", 0, len(text)))


@pytest.mark.parametrize(("begin", "expected"), [(1, "200"), (10**6, "416")])
def test_a_part_of_a_file_begins_where_it_was_asked_to(master: Node, server: Server, begin: int, expected: str) -> None:
    offered(master, server)
    text = saves.content("scheduler.pt", 40)
    if expected == "200":
        assert b"".join(client(server).blocks("/file/40/scheduler.pt", begin, len(text))) == text[begin:]
    else:
        with pytest.raises(UnreachableError, match=expected):
            list(client(server).blocks("/file/40/scheduler.pt", begin, len(text)))


@given(path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_of_a_question_reaches_the_disk(server: Server, path: str) -> None:
    server.offer = Offer("a", 2, "copy", True, "x", 40, "/nowhere", ({"name": "scheduler.pt", "size": 1},))
    assert server.reply(Question(f"/file/40/{path}", 0, "", "")).status == 404


def test_only_what_brings_a_node_nearer_to_its_start_is_news(master: Node, server: Server) -> None:
    offer = offered(master, server)

    def is_news(path: str) -> bool:
        before = offer.seen
        list(client(server).blocks(path, 0, size)) if path.startswith("/file") else client(server).ask(path)
        return offer.seen != before

    size = len(saves.content("scheduler.pt", 40))
    ready = f"/ready?rank=1&attempt={offer.attempt}"
    asked = ("/start?rank=1", "/sha256/40/scheduler.pt", "/file/40/scheduler.pt", ready, ready, "/alive")
    assert [is_news(path) for path in asked] == [True, True, True, True, False, False]


@pytest.mark.parametrize("rank", ["0", "2", "-1", "x", "1x", "9" * 400, ""])
def test_a_rank_that_the_run_does_not_have_is_not_counted(master: Node, server: Server, rank: str) -> None:
    offer = offered(master, server)
    for path in (f"/start?rank={rank}&last={offer.attempt}", f"/ready?rank={rank}&attempt={offer.attempt}"):
        server.reply(Question(path, 0, "", ""))
    assert (offer.lost, offer.ready) == (set(), {})
    server.reply(Question(f"/start?rank=1&last={offer.attempt}", 0, "", ""))
    assert offer.lost == {1}


def test_before_a_decision_nothing_is_told(server: Server) -> None:
    with pytest.raises(UnreachableError, match="503"):
        client(server).ask("/start")


def test_a_port_that_is_taken_is_told_by_its_variable(server: Server) -> None:
    with pytest.raises(FleetError) as error:
        listen("127.0.0.1", ("127.0.0.1",), port(server))
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
    assert client(server).ask("/sha256/40/scheduler.pt") == {"sha256": "f" * 64}
