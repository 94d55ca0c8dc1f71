"""All nodes of a run start from the same checkpoint, together.

The first node decides and offers (peers_server). The others fetch what they lack, say that they are ready, and start
when all are. Each start has a name of its own, the attempt: a node that was in one does not join it twice, because the
trainer's processes of that attempt are dead or dying; it waits for the next one.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..checkpoints import guard as checkpoint_guard
from ..checkpoints import seal as checkpoint_seal
from ..checkpoints.errors import PeersError
from ..checkpoints.seal import Place, Say
from ..core.errors import FleetError
from ..system import files, folders
from ..trainer import checkpoint as checkpoints
from ..trainer.checkpoint import Checkpoint
from . import fetch
from .client import Client, UnreachableError
from .server import Heartbeat, Offer, Server, allowed_by

PORT = 29601
SMALL = 1 << 12  # bytes of the name of an attempt
SILENCE_TIMEOUT = 1800.0  # seconds without any sign of life of those that are waited for
PAUSE = 1.0  # seconds between two questions
REPORT_EVERY = 30.0  # seconds between two words about a wait
SETTLE = 60.0  # seconds until a shared folder shows the same to all nodes
Answer = Mapping[str, Any]


@dataclass(frozen=True)
class NodeGroup:
    """A node's place among the nodes of its run, and how they reach each other."""

    run: str
    nnodes: int
    rank: int
    hosts: tuple[str, ...]
    master: str
    port: int
    resume: bool = True  # auto_resume: without it the nodes start together, but their checkpoints are left alone
    share: str = "copy"  # copy: each node has its own folder; shared: all see one
    shards: int = 0
    timeout: float = SILENCE_TIMEOUT


class Wait:
    """A wait that is told of every half a minute, and ends after `timeout` seconds without a sign of life."""

    def __init__(self, timeout: float, say: Say, ended: Callable[[float], bool]) -> None:
        self._timeout, self._say, self._ended = timeout, say, ended
        self._alive = self._reported = time.monotonic()

    def alive(self) -> None:
        self._alive = time.monotonic()

    def pause(self, what: str, variable: str = "") -> None:
        """Raises FleetError when the time is over, or the unit is being stopped."""
        now = time.monotonic()
        if now - self._reported >= REPORT_EVERY:
            self._reported = now
            self._say(f"waits for {what}, {now - self._alive:.0f} s of at most {self._timeout:.0f} s without a sign")
        if self._ended(PAUSE):
            raise FleetError("the start was called off", found=f"waited for {what}")
        if now - self._alive > self._timeout:
            raise PeersError(
                "the nodes of the run did not come together",
                variable=variable,
                found=f"waited {self._timeout:.0f} s for {what}",
                expected="all nodes of the run up, and their port open between them",
            )


def node_group_of(spec: Mapping[str, Any]) -> NodeGroup:
    """From the unit's spec."""
    hosts = tuple(str(host) for host in spec.get("addresses") or spec.get("hosts") or ())
    return NodeGroup(
        run=str(spec.get("run") or ""),
        nnodes=int(spec.get("nnodes") or 1),
        rank=int(spec.get("node_rank") or 0),
        hosts=hosts,
        master=str(spec.get("master_addr") or (hosts[0] if hosts else "")),
        port=int(spec.get("peer_port", PORT)),
        resume=bool(spec.get("auto_resume", True)),
        share="shared" if spec.get("share") in (True, "shared") else "copy",
        shards=int(spec.get("shards") or 0),
        timeout=float(spec.get("peer_timeout") or SILENCE_TIMEOUT),
    )


def serve(node_group: NodeGroup, networks: Iterable[str], heartbeat: Heartbeat) -> Server:
    """The first node's server. Raises FleetError for a port that is taken, and for a network that is none."""
    hosts = (*node_group.hosts, node_group.master)
    try:
        allowed = allowed_by(hosts, tuple(networks))
    except ValueError as error:
        raise FleetError("a network is not one", variable="training_peer_networks", found=str(error)) from error
    return Server(node_group.port, allowed, heartbeat, any(":" in host for host in hosts))


def offer_of(node_group: NodeGroup, place: Place, target: Checkpoint | None) -> Offer:
    """A new attempt that resumes from `target`. Served are its links, where there are: nobody deletes those."""
    offer = Offer(node_group.run, node_group.nnodes, node_group.share, node_group.resume, secrets.token_hex(8))
    if target is None:
        return offer
    manifest = checkpoint_seal.read_manifest(place, target.step) or {}
    offer.step = target.step
    offer.folder = place.links(target.step) if manifest.get("links") else target.path
    names = checkpoint_seal.names_of(offer.folder)
    marks = {name: checkpoint_seal.mark_of(f"{offer.folder}/{name}") for name in names}
    offer.files = tuple({"name": name, "size": mark["size"], "mark": mark["mark"]} for name, mark in marks.items())
    for name, entry in manifest.get("files", {}).items():
        if entry.get("sha256") and entry["mark"] == marks.get(name, {}).get("mark"):
            offer.digests[name] = entry["sha256"]
    return offer


def gather(server: Server, offer: Offer, node_group: NodeGroup, say: Say, ended: Callable[[float], bool]) -> None:
    """On the first node: wait until all others are ready, then let all go. Raises FleetError."""
    server.make(offer)
    wait, seen = Wait(node_group.timeout, say, ended), offer.seen
    while missing := offer.missing(time.monotonic()):
        if offer.seen != seen:
            seen = offer.seen
            wait.alive()
        wait.pause(f"nodes {', '.join(f'{rank} ({node_group.hosts[rank]})' for rank in missing)}", "training_peer_port")
    with server.changed:
        offer.phase = "training"
    say(f"all {node_group.nnodes} nodes are ready: attempt {offer.attempt}")


def join(node_group: NodeGroup, place: Place, say: Say, ended: Callable[[float], bool]) -> Checkpoint | None:
    """On every other node: come to the first node's checkpoint, and return when all start. Raises FleetError."""
    client, wait, last = (
        Client(node_group.master, node_group.port),
        Wait(node_group.timeout, say, ended),
        joined(place, node_group.rank),
    )
    while True:
        with contextlib.suppress(UnreachableError):
            answer = client.ask(f"/start?rank={node_group.rank}&last={quote(last)}")
            wait.alive()
            if agree(node_group, answer)["attempt"] != last:
                target = follow(node_group, place, answer, client, say, ended)
                if _go(client, node_group, place, answer, wait):
                    return target
                continue
        wait.pause(f"the first node ({node_group.master}:{node_group.port})", "training_peer_port")


def agree(node_group: NodeGroup, answer: Answer) -> Answer:
    """Raises FleetError when the first node speaks of another run, or of another topology of it."""
    for name in ("run", "nnodes", "share", "resume"):
        if answer.get(name) != getattr(node_group, name):
            raise FleetError(
                "the first node does not speak of this run",
                variable="training_shared_checkpoints" if name == "share" else "training_peer_port",
                found=f"{node_group.master}:{node_group.port}: {name} {answer.get(name)}",
                expected=f"{name} {getattr(node_group, name)}",
                remedy="converge all nodes of the run alike; each run needs a port of its own",
            )
    return answer


def _go(client: Client, node_group: NodeGroup, place: Place, answer: Answer, wait: Wait) -> bool:
    """Say ready until all go; False when the first node has begun another attempt meanwhile."""
    attempt = str(answer["attempt"])
    while True:
        with contextlib.suppress(UnreachableError):
            answer = client.ask(f"/ready?rank={node_group.rank}&attempt={quote(attempt)}")
            wait.alive()
            if answer.get("attempt") != attempt:
                return False
            if answer.get("go"):
                remember(place, node_group.rank, attempt)
                return True
        wait.pause("the other nodes of the run", "training_peer_port")


def joined(place: Place, rank: int) -> str:
    """The attempt that this node was in last; "" when in none. `attempt` without a rank: of an earlier version."""
    for name in (f"attempt-{rank}", "attempt"):
        with contextlib.suppress(OSError):
            return files.read(f"{place.kept}/{name}", SMALL).decode("utf-8", "replace").strip()
    return ""


def remember(place: Place, rank: int, attempt: str) -> None:
    """A file for each rank: in a shared folder several nodes would rename each other's away."""
    folders.make(place.kept)
    files.write(f"{place.kept}/attempt-{rank}", f"{attempt}\n".encode(), durable=False)


def follow(
    node_group: NodeGroup, place: Place, answer: Answer, client: Client, say: Say, ended: Callable[[float], bool]
) -> Checkpoint | None:
    """Make this node's newest checkpoint the one of the answer."""
    step = answer.get("step")
    if not node_group.resume:
        return None
    if node_group.share == "shared":
        return _sees(place, answer, ended)
    if step is not None and not fetch.has(place, answer):
        fetch.fetch(place, answer, client, say, ended)
    seen = checkpoint_guard.look(place)
    if step is None:
        decision = checkpoint_guard.towards(seen, place, None)
    else:
        decision = checkpoint_guard.back_to(seen, place, int(step))
    checkpoint_guard.refuse_other_shards(decision.target, node_group.shards)
    target = checkpoint_guard.settle(place, decision, say)
    fetch.forget_older(place, target.step if target else None, say)
    return target


def _sees(place: Place, answer: Answer, ended: Callable[[float], bool]) -> Checkpoint | None:
    """In a shared folder: the newest is what the first node sees. Raises FleetError when it stays another."""
    until = time.monotonic() + SETTLE
    while True:
        newest = checkpoints.survey(place.checkpoints).newest
        alike = newest is None or fetch.same(newest.path, answer["files"])
        if alike and (newest.step if newest else None) == answer.get("step"):
            return newest
        if time.monotonic() > until or ended(PAUSE):
            raise PeersError(
                "this node does not see the first node's checkpoint",
                variable="training_shared_checkpoints",
                found=f"{place.checkpoints}: newest {newest.path if newest else 'none'}",
                expected=f"step {answer.get('step')}, the same files as on the first node",
                remedy="share the folder between the nodes, or set training_shared_checkpoints: copy",
            )


def alive(node_group: NodeGroup, place: Place) -> dict[str, Any] | None:
    """{"attempt", "same", "phase", "step", "age"} of the first node; None when it cannot be reached within 5 s.

    same: it is in the attempt that this node joined. When not, this node's own processes are of a dead attempt.
    """
    try:
        found = Client(node_group.master, node_group.port, timeout=5.0).ask("/alive")
    except (UnreachableError, FleetError):
        return None
    return {**found, "same": found.get("attempt") == joined(place, node_group.rank)}
