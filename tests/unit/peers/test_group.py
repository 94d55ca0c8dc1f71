"""All nodes of a run start together, from the first node's checkpoint, each attempt once."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import examined
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import guard as checkpoint_guard
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.peers import fetch as checkpoint_fetch
from ansible_collections.canvas.fleet.plugins.module_utils.peers import group as peers
from ansible_collections.canvas.fleet.plugins.module_utils.peers.client import Client, UnreachableError
from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import RunKey
from ansible_collections.canvas.fleet.plugins.module_utils.peers.server import Server

from tests.unit.support import saves
from tests.unit.support.nodes import KEY, Node, client, node_group, offered, port, start, taken
from tests.unit.support.saves import FILES, LORA, everything, resumes_from, save
from tests.unit.support.supervised import wait_for

pytestmark = pytest.mark.usefixtures("impatient")


def test_a_bare_node_gets_the_checkpoint_and_starts_with_the_others(
    tmp_path: Path, master: Node, server: Server
) -> None:
    node = Node(tmp_path / "node", 1, port(server))
    start(master, server, node)
    assert node.error is None
    assert node.target.step == 40
    assert resumes_from(node.folder) == resumes_from(master.folder) == 40
    assert checkpoint_fetch.fetched(node.place) == [40]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([("whole", 60)], id="a newer save than the first node's"),
        pytest.param([("empty", 40), ("empty", 60)], id="the empty folders of the trainer's other nodes"),
        pytest.param([("cut", 40)], id="a cut copy"),
        pytest.param([("whole", 20), ("cut", 60)], id="an older one and a cut one"),
        pytest.param([("foreign", 0)], id="a name that kills the trainer"),
    ],
)
def test_what_a_node_had_before_does_not_matter_and_is_not_deleted(
    tmp_path: Path, master: Node, server: Server, before: list[tuple[str, int]]
) -> None:
    node = Node(tmp_path / "node", 1, port(server))
    for kind, step in before:
        if kind == "whole":
            save(node.folder, step, delete=False)
        elif kind == "cut":
            save(node.folder, step, upto=6)
        else:
            (node.folder / ("best" if kind == "foreign" else f"{step:07d}")).mkdir()
    had = set(everything(node.root))
    start(master, server, node)
    assert node.error is None
    assert resumes_from(node.folder) == 40
    assert had <= set(everything(node.root))


def test_a_node_that_has_it_fetches_nothing(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "node", 1, port(server))
    start(master, server, node)
    node.said.clear()
    start(master, server, node)
    assert not any("fetches" in said for said in node.said)


def test_adapters_reach_every_node_whole(tmp_path: Path, server: Server) -> None:
    first = Node(tmp_path / "m", 0, port(server), profile="lora")
    save(first.folder, 20, files=LORA)
    checkpoint_guard.keep(first.place, 20, first.place.folder(20), first.said.append)
    node = Node(tmp_path / "n", 1, port(server), profile="lora")
    start(first, server, node)
    assert node.error is None
    assert resumes_from(node.folder) == 20
    assert sorted(os.listdir(node.folder / "0000020")) == sorted(LORA)


def test_a_run_that_begins_anew_does_so_on_every_node(tmp_path: Path, server: Server) -> None:
    first, node = Node(tmp_path / "m", 0, port(server)), Node(tmp_path / "n", 1, port(server))
    save(node.folder, 20)
    start(first, server, node)
    assert (node.error, node.target) == (None, None)
    assert resumes_from(node.folder) is None


def test_three_nodes_wait_for_the_last(tmp_path: Path, master: Node, server: Server) -> None:
    nodes = [Node(tmp_path / f"n{rank}", rank, port(server), nnodes=3) for rank in (1, 2)]
    master.node_group = node_group(0, port(server), nnodes=3)
    early = nodes[0].join()
    offer = offered(master, server)
    gathering = threading.Thread(
        target=peers.gather, args=(server, offer, master.node_group, master.said.append, master.end.wait), daemon=True
    )
    gathering.start()
    wait_for(lambda: resumes_from(nodes[0].folder) == 40, 20)
    early.join(0.6)
    assert early.is_alive()
    late = nodes[1].join()
    for thread in (early, late, gathering):
        thread.join(20)
        assert not thread.is_alive()
    assert [node.target.step for node in nodes] == [40, 40]


def test_a_ready_node_does_not_keep_up_the_wait_for_a_dead_one(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "n1", 1, port(server), nnodes=3)
    master.node_group = node_group(0, port(server), nnodes=3, timeout=1.0)
    offer, asking = offered(master, server), node.join()
    wait_for(lambda: 1 in offer.ready, 20)
    asleep = threading.Timer(10, master.end.set)
    asleep.start()
    with pytest.raises(FleetError, match=r"waited 1 s for nodes 2 \("):
        peers.gather(server, offer, master.node_group, master.said.append, master.end.wait)
    asleep.cancel()
    node.end.set()
    asking.join(20)


def test_a_node_does_not_join_an_attempt_twice(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "node", 1, port(server))
    offer = start(master, server, node)
    assert peers.joined(node.place, 1) == offer.attempt
    again = node.join()  # its trainer died, the first node's has not noticed yet
    again.join(0.5)
    assert again.is_alive()
    assert offer.lost == {1}
    peers.gather(server, offered(master, server), master.node_group, master.said.append, master.end.wait)
    again.join(20)
    assert not again.is_alive()
    assert peers.joined(node.place, 1) != offer.attempt


def test_a_node_that_never_joined_may_come_late(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "node", 1, port(server))
    offered(master, server).phase = "training"
    node.join().join(20)
    assert node.target.step == 40


def test_a_node_that_was_ready_and_fell_silent_holds_the_start(master: Node, server: Server) -> None:
    offer = offered(master, server)
    now = time.monotonic()
    offer.ready[1] = now - 15
    assert offer.missing(now) == [1], "it says so every second"
    offer.ready[1] = now - 5
    assert offer.missing(now) == [], "a slow answer is no silence"


def test_a_node_follows_a_first_node_that_changes_its_mind(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "node", 1, port(server))
    offered(master, server)
    waiting = node.join()
    wait_for(lambda: resumes_from(node.folder) == 40, 20)
    seen = examined.look(master.place)
    checkpoint_guard.apply(master.place, checkpoint_guard.back_to(seen, master.place, 20), master.said.append)
    peers.gather(server, offered(master, server), master.node_group, master.said.append, master.end.wait)
    waiting.join(20)
    assert node.target.step == 20
    assert resumes_from(node.folder) == 20


@pytest.mark.parametrize("kept", [0, 1, 100, "all but one"])
def test_a_download_goes_on_where_it_was_cut(tmp_path: Path, master: Node, server: Server, kept: Any) -> None:
    node, offer = Node(tmp_path / "node", 1, port(server)), offered(master, server)
    part = Path(node.place.part("fetch", 40))
    part.mkdir(parents=True)
    text = saves.content("model.safetensors", 40)
    size = len(text) - 1 if kept == "all but one" else kept
    (part / "model.safetensors.part").write_bytes(text[:size])
    source = Counting("127.0.0.1", port(server), KEY)
    checkpoint_fetch.fetch(node.place, taken(offer), source, node.said.append, node.end.wait)
    assert resumes_from(node.folder) == 40
    assert source.got["model.safetensors"] == len(text) - size


@pytest.mark.parametrize("name", FILES)
def test_a_half_file_that_is_not_the_beginning_is_fetched_anew(
    tmp_path: Path, master: Node, server: Server, name: str
) -> None:
    node, offer = Node(tmp_path / "node", 1, port(server)), offered(master, server)
    part = Path(node.place.part("fetch", 40))
    part.mkdir(parents=True)
    (part / f"{name}.part").write_bytes(b"something else")
    checkpoint_fetch.fetch(node.place, taken(offer), client(server), node.said.append, node.end.wait)
    assert resumes_from(node.folder) == 40
    assert any("fetched again" in said for said in node.said)


class Counting(Client):
    """Counts bytes, and may be cut after so many of them."""

    def __init__(self, host: str, port: int, key: RunKey, limit: int = 10**9) -> None:
        super().__init__(host, port, key)
        self.got: dict[str, int] = {}
        self.limit = limit

    def blocks(self, path: str, begin: int, size: int) -> Iterator[bytes]:
        for block in super().blocks(path, begin, size):
            name = path.split("/")[-1]
            keep = block[: self.limit] if path.startswith("/file") else block
            if path.startswith("/file"):
                self.got[name] = self.got.get(name, 0) + len(keep)
                self.limit -= len(keep)
            yield keep
            if len(keep) < len(block):
                raise UnreachableError("cut")


@pytest.mark.parametrize("limit", range(1, 5000, 97))
def test_a_connection_cut_after_any_byte_costs_no_byte_twice(
    tmp_path: Path, master: Node, server: Server, limit: int
) -> None:
    node, offer = Node(tmp_path / "node", 1, port(server)), offered(master, server)
    first, second = Counting("127.0.0.1", port(server), KEY, limit), Counting("127.0.0.1", port(server), KEY)
    total = sum(len(saves.content(name, 40)) for name in FILES)
    try:
        checkpoint_fetch.fetch(node.place, taken(offer), first, node.said.append, node.end.wait)
    except UnreachableError:
        assert resumes_from(node.folder) is None
        checkpoint_fetch.fetch(node.place, taken(offer), second, node.said.append, node.end.wait)
    assert resumes_from(node.folder) == 40
    assert sum((*first.got.values(), *second.got.values())) == total


def test_a_first_node_whose_file_changes_is_found_out(tmp_path: Path, master: Node, server: Server) -> None:
    node, offer = Node(tmp_path / "node", 1, port(server)), offered(master, server)
    offer.digests["scheduler.pt"] = "0" * 64
    with pytest.raises(FleetError, match=r"scheduler\.pt of checkpoint 40 arrives damaged"):
        checkpoint_fetch.fetch(node.place, taken(offer), client(server), node.said.append, node.end.wait)
    assert resumes_from(node.folder) is None


def test_a_full_disk_is_told_before_the_copy(
    tmp_path: Path, master: Node, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, offer = Node(tmp_path / "node", 1, port(server)), offered(master, server)
    big = replace(taken(offer), files=tuple(replace(one, size=10**18) for one in taken(offer).files))
    with pytest.raises(FleetError, match="does not fit") as error:
        checkpoint_fetch.fetch(node.place, big, client(server), node.said.append, node.end.wait)
    assert error.value.expected == f"{6 * 10**18 / 1e12:.1f} TB"


def test_older_copies_go_and_a_nodes_own_saves_stay(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "node", 1, port(server))
    save(node.folder, 10, delete=False)
    for step in (60, 80, 100):
        start(master, server, node)
        save(master.folder, step)
        checkpoint_guard.keep(master.place, step, master.place.folder(step), master.said.append)
    start(master, server, node)
    assert sorted(path.name for path in node.folder.iterdir()) == ["0000010", "0000080", "0000100"]
    assert resumes_from(node.folder) == 100


def test_a_shared_folder_is_looked_at_and_left_alone(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "master", 1, port(server), share="shared")
    master.node_group = node_group(0, port(server), share="shared")
    before = set(everything(master.root))
    start(master, server, node)
    assert node.target.step == 40
    assert set(everything(master.root)) - before == {f"{peers.joined(node.place, 1)}\n".encode()}


def test_nodes_that_share_a_folder_remember_their_attempts_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node's whole memory falls between any two calls of this one's."""
    place, real = saves.place(tmp_path), os.replace

    def replace(source: str, target: str, **folders: int) -> None:
        monkeypatch.setattr(os, "replace", real)
        peers.remember(place, 2, "b")
        real(source, target, **folders)

    monkeypatch.setattr(os, "replace", replace)
    peers.remember(place, 1, "a")
    assert [peers.joined(place, rank) for rank in (1, 2, 3)] == ["a", "b", ""]


def test_an_attempt_that_an_earlier_version_remembered_is_not_joined_twice(tmp_path: Path) -> None:
    place = saves.place(tmp_path)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/attempt").write_text("old\n")
    assert peers.joined(place, 1) == "old"
    peers.remember(place, 1, "new")
    assert peers.joined(place, 1) == "new"


def test_a_folder_that_is_not_shared_is_told(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "node", 1, port(server), share="shared")
    master.node_group = node_group(0, port(server), share="shared")
    offered(master, server)
    node.join().join(20)
    assert node.error is not None
    assert "training_shared_checkpoints" in str(node.error)


def test_a_folder_with_another_save_of_the_same_step_is_not_shared(
    tmp_path: Path, master: Node, server: Server
) -> None:
    node = Node(tmp_path / "node", 1, port(server), share="shared")
    save(node.folder, 40)
    (node.folder / "0000040/scheduler.pt").write_bytes(saves.content("scheduler.pt", 41))
    master.node_group = node_group(0, port(server), share="shared")
    offered(master, server)
    node.join().join(20)
    assert node.error is not None
    assert "training_shared_checkpoints" in str(node.error)


@pytest.mark.parametrize(
    ("mine", "words"),
    [({"nnodes": 3}, "nnodes 2"), ({"share": "shared"}, "share copy")],
    ids=["another number of nodes", "another way to share"],
)
def test_nodes_that_were_converged_differently_do_not_start(
    tmp_path: Path, master: Node, server: Server, mine: dict[str, Any], words: str
) -> None:
    node = Node(tmp_path / "node", 1, port(server), **mine)
    offered(master, server)
    node.join().join(20)
    assert node.error is not None
    assert words in str(node.error)


def test_without_auto_resume_they_start_together_and_nothing_is_copied(
    tmp_path: Path, master: Node, server: Server
) -> None:
    node = Node(tmp_path / "node", 1, port(server), resume=False)
    save(node.folder, 20, upto=5)
    (node.folder / "best").mkdir()
    before = everything(node.root)
    master.node_group = node_group(0, port(server), resume=False)
    thread = node.join()
    peers.gather(
        server, peers.offer_of(master.node_group, master.place, None), master.node_group, print, master.end.wait
    )
    thread.join(20)
    assert (thread.is_alive(), node.error, node.target) == (False, None, None)
    assert {text: n for text, n in everything(node.root).items() if n and text in before} == before


def test_a_wait_has_an_end(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        node = Node(tmp_path, 1, free.getsockname()[1], timeout=0.2)
    node.join().join(20)
    assert node.error is not None
    assert "are ready" in str(node.error)
    assert (getattr(node.error, "retry", False), getattr(node.error, "kind", "")) == (True, "PEERS_MISSING")


def test_the_first_node_names_those_it_waits_for(master: Node, server: Server) -> None:
    master.node_group = node_group(0, port(server), timeout=0.2)
    with pytest.raises(FleetError) as error:
        start(master, server)
    assert error.value.found == "waited 0 s for nodes 1 (127.0.0.1)"


def test_a_stop_ends_the_wait(tmp_path: Path, master: Node, server: Server) -> None:
    node = Node(tmp_path / "node", 1, port(server))
    offered(master, server)
    thread = node.join()
    thread.join(0.4)
    node.end.set()
    thread.join(5)
    assert node.error is not None
    assert "was stopped" in str(node.error)
