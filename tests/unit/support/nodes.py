"""Nodes of a run in folders and threads of one process, for tests of their messages."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import guard as checkpoint_guard
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.peers import group as peers
from ansible_collections.canvas.fleet.plugins.module_utils.peers.addresses import Allowed, listen
from ansible_collections.canvas.fleet.plugins.module_utils.peers.announced import Announced, announced
from ansible_collections.canvas.fleet.plugins.module_utils.peers.client import Client
from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import run_key
from ansible_collections.canvas.fleet.plugins.module_utils.peers.server import Heartbeat, Offer, Server

from tests.unit.support import saves
from tests.unit.support.saves import SHARDS, save

SECRET = "5e" * 32
KEY = run_key(SECRET, "a")


def serving(*allowed: str, nnodes: int = 3) -> Server:
    """The server of run "a" on loopback, open to these addresses."""
    listening, _ = listen("127.0.0.1", ("127.0.0.1",), 0)
    return Server(listening, Allowed(allowed or ("127.0.0.1",)), Heartbeat(), KEY, nnodes)


def client(server: Server, timeout: float = 20.0) -> Client:
    return Client("127.0.0.1", server.port, KEY, timeout)


def taken(offer: Offer) -> Announced:
    return announced(offer.as_answer(), SHARDS)


def node_group(rank: int, port: int, nnodes: int = 2, **changes: Any) -> peers.NodeGroup:
    hosts = ("127.0.0.1",) * nnodes
    given = {"share": "copy", "shards": SHARDS, "timeout": 20.0, "key": KEY, **changes}
    return peers.NodeGroup("a", nnodes, rank, hosts, "127.0.0.1", port, **given)


class Node:
    """One node's folders and words."""

    def __init__(self, root: Path, rank: int, port: int, **changes: Any) -> None:
        self.place, self.folder = saves.place(root), root / "checkpoints"
        self.root, self.node_group = root, node_group(rank, port, **changes)
        self.said: list[str] = []
        self.target: Any = None
        self.error: Exception | None = None
        self.end = threading.Event()

    def join(self) -> threading.Thread:
        def run() -> None:
            try:
                self.target = peers.join(self.node_group, self.place, self.said.append, self.end.wait)
            except FleetError as error:
                self.error = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


def first(root: Path, server: Server) -> Node:
    """The first node, with the whole saves 20 and 40."""
    node = Node(root, 0, port(server))
    for step in (20, 40):
        save(node.folder, step)
        checkpoint_guard.keep(node.place, step, node.place.folder(step), node.said.append)
    return node


def port(server: Server) -> int:
    return server.port


def offered(node: Node, server: Server) -> Offer:
    target = checkpoint_guard.prepare(node.place, SHARDS, 20, node.said.append)
    offer = peers.offer_of(node.node_group, node.place, target)
    server.make(offer)
    return offer


def start(node: Node, server: Server, *others: Node) -> Offer:
    """One start of the whole run."""
    target = checkpoint_guard.prepare(node.place, SHARDS, 20, node.said.append)
    offer = peers.offer_of(node.node_group, node.place, target)
    threads = [other.join() for other in others]
    peers.gather(server, offer, node.node_group, node.said.append, node.end.wait)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return offer
