"""All nodes of a run start from the same checkpoint, together.

The first node decides and offers (server.py). The others fetch what they lack, say that they are ready, and start
when all are. Each start has a name of its own, the attempt: a node that was in one does not join it twice, because the
trainer's processes of that attempt are dead or dying; it waits for the next one.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ..checkpoints import examined
from ..checkpoints import guard as checkpoint_guard
from ..checkpoints import seal as checkpoint_seal
from ..checkpoints.errors import PeersError
from ..checkpoints.seal import Place, Say
from ..core.errors import FleetError
from ..system import files, folders
from ..trainer import checkpoint as checkpoints
from ..trainer.checkpoint import Checkpoint
from . import fetch
from .addresses import Allowed, listen
from .announced import Announced, announced
from .client import Client, MismatchError, UnreachableError
from .secret import RunKey, key_of_unit
from .server import Heartbeat, Offer, Server

PORT = 29601
SMALL = 1 << 12  # bytes of the name of an attempt
SILENCE_TIMEOUT = 1800.0  # seconds without any sign of life of those that are waited for
PAUSE = 1.0  # seconds between two questions
REPORT_EVERY = 30.0  # seconds between two words about a wait
SETTLE = 60.0  # seconds until a shared folder shows the same to all nodes
MIXED = 300.0  # seconds for a first node of another version or secret: one that runs on may be started anew by then
CUTS = 100  # downloads that are cut, until the start fails
TOGETHER = "converge all nodes of the run together with training_state: restarted"
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
    profile: str = ""  # training_profile; "" for not known
    timeout: float = SILENCE_TIMEOUT
    checkpoint_bytes: int = 0  # of what the first node announces at most, 0 for not known
    key: RunKey | None = field(default=None, repr=False)  # None for a node that is alone

    @property
    def proof(self) -> RunKey:
        """The key; read from the unit's credentials where none was given. Raises FleetError where it holds none."""
        return self.key or key_of_unit(self.run)


class Wait:
    """A wait that is reported every 30 s and ends after `timeout` seconds without a sign of life."""

    def __init__(self, timeout: float, say: Say, ended: Callable[[float], bool]) -> None:
        self._timeout, self._say, self._ended = timeout, say, ended
        self._alive = self._reported = time.monotonic()

    def alive(self) -> None:
        self._alive = time.monotonic()

    def pause(self, what: str, variable: str = "", limit: float = float("inf"), remedy: str = "") -> None:
        """Raises FleetError when the time, or `limit` seconds, are over, or the unit is being stopped."""
        now, timeout = time.monotonic(), min(self._timeout, limit)
        if now - self._reported >= REPORT_EVERY:
            self._reported = now
            self._say(f"waits for {what}, {now - self._alive:.0f} s of at most {timeout:.0f} s without a sign")
        if self._ended(PAUSE):
            raise FleetError("the start was stopped", found=f"waited for {what}")
        if now - self._alive > timeout:
            raise PeersError(
                "not all nodes of the run are ready",
                variable=variable,
                found=f"waited {timeout:.0f} s for {what}",
                expected="all nodes of the run up, with their port open to each other",
                remedy=remedy,
            )


def node_group_of(spec: Mapping[str, Any]) -> NodeGroup:
    """Made from the unit's spec."""
    hosts = tuple(str(host) for host in spec.get("addresses") or spec.get("hosts") or ())
    return NodeGroup(
        run=str(spec.get("run") or ""),
        nnodes=int(spec.get("nnodes") or 1),
        rank=int(spec.get("node_rank") or 0),
        hosts=hosts,
        master=str(spec.get("master_addr") or (hosts[0] if hosts else "")),
        port=int(spec.get("peer_port", PORT)),
        resume=bool(spec.get("auto_resume", True)),
        share="shared" if spec.get("shared_checkpoints") else "copy",
        shards=int(spec.get("shards") or 0),
        profile=str(spec.get("profile") or ""),
        checkpoint_bytes=int(spec.get("checkpoint_bytes") or 0),
        timeout=float(spec.get("peer_timeout") or SILENCE_TIMEOUT),
    )


def serve(node_group: NodeGroup, networks: Iterable[str], heartbeat: Heartbeat, say: Say) -> Server:
    """The first node's server. Raises FleetError for a port that is taken, a network that is none, no secret."""
    key = node_group.proof
    hosts = (*node_group.hosts, node_group.master)
    allowed = Allowed(hosts, networks)
    listening, where = listen(node_group.master, node_group.hosts, node_group.port)
    say(f"listens for the other nodes of the run at {where}, port {node_group.port}")
    return Server(listening, allowed, heartbeat, key, node_group.nnodes)


def offer_of(node_group: NodeGroup, place: Place, target: Checkpoint | None) -> Offer:
    """A new attempt that resumes from `target`. Its links are served if they exist, because nobody deletes them."""
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
        wait.pause(_missing(node_group, missing, server.door.doubts), "training_peer_port")
    with server.changed:
        offer.phase = "training"
    say(f"all {node_group.nnodes} nodes are ready: attempt {offer.attempt}")


def _missing(node_group: NodeGroup, missing: Iterable[int], doubts: Mapping[str, str]) -> str:
    """The missing nodes, and the problems of nodes without a proof."""
    parts = [f"nodes {', '.join(f'{rank} ({node_group.hosts[rank]})' for rank in missing)}"]
    return "; ".join([*parts, *(f"{address} {what}" for address, what in list(doubts.items())[:4])])


def join(node_group: NodeGroup, place: Place, say: Say, ended: Callable[[float], bool]) -> Checkpoint | None:
    """On every other node: get the first node's checkpoint, and return when all start. Raises FleetError."""
    client = Client(node_group.master, node_group.port, node_group.proof)
    wait, last, cuts = Wait(node_group.timeout, say, ended), joined(place, node_group.rank), 0
    first = f"the first node ({node_group.master}:{node_group.port})"
    while True:
        mixed = ""
        try:
            answer = client.ask(f"/start?rank={node_group.rank}&last={quote(last)}")
            wait.alive()
            offered = announced(agree(node_group, answer), node_group.shards, node_group.checkpoint_bytes)
            if offered.attempt != last:
                cuts += 1
                target = follow(node_group, place, offered, client, say, ended)
                if _go(client, node_group, place, offered.attempt, wait):
                    return target
                cuts = 0
                continue
        except MismatchError as error:
            mixed = f", which {error}"
        except UnreachableError as error:
            _refuse_cuts(cuts, error)
        wait.pause(first + mixed, "training_peer_port", *((MIXED, TOGETHER) if mixed else ()))


def _refuse_cuts(cuts: int, error: UnreachableError) -> None:
    if cuts > CUTS:
        raise PeersError("the first node's checkpoint cannot be fetched", found=f"{cuts} tries, the last: {error}")


def agree(node_group: NodeGroup, answer: Answer) -> Answer:
    """Raises FleetError when the first node serves another run or another topology."""
    for name in ("run", "nnodes", "share", "resume"):
        if answer.get(name) != getattr(node_group, name):
            raise FleetError(
                "the first node serves another run",
                variable="training_shared_checkpoints" if name == "share" else "training_peer_port",
                found=f"{node_group.master}:{node_group.port}: {name} {answer.get(name)}",
                expected=f"{name} {getattr(node_group, name)}",
                remedy="converge all nodes of the run together, and give each run its own port",
            )
    return answer


def _go(client: Client, node_group: NodeGroup, place: Place, attempt: str, wait: Wait) -> bool:
    """Say ready until all go; False when the first node has begun another attempt meanwhile."""
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
    node_group: NodeGroup, place: Place, offered: Announced, client: Client, say: Say, ended: Callable[[float], bool]
) -> Checkpoint | None:
    """Make this node's newest checkpoint the announced one."""
    step = offered.step
    if not node_group.resume:
        return None
    if node_group.share == "shared":
        return _sees(place, offered, ended)
    if step is not None and not fetch.has(place, offered):
        fetch.fetch(place, offered, client, say, ended)
    seen = examined.look(place)
    if step is None:
        decision = checkpoint_guard.towards(seen, place, None)
    else:
        decision = checkpoint_guard.back_to(seen, place, step)
    checkpoint_guard.refuse_what_cannot_load(decision.target, node_group.shards, node_group.profile)
    target = checkpoint_guard.settle(place, decision, say)
    fetch.forget_older(place, target.step if target else None, say)
    return target


def _sees(place: Place, offered: Announced, ended: Callable[[float], bool]) -> Checkpoint | None:
    """In a shared folder: the newest is what the first node sees. Raises FleetError when it stays another."""
    until = time.monotonic() + SETTLE
    while True:
        newest = checkpoints.survey(place.checkpoints).newest
        alike = newest is None or fetch.same(newest.path, offered.files)
        if alike and (newest.step if newest else None) == offered.step:
            return newest
        if time.monotonic() > until or ended(PAUSE):
            raise PeersError(
                "this node does not see the first node's checkpoint",
                variable="training_shared_checkpoints",
                found=f"{place.checkpoints}: newest {newest.path if newest else 'none'}",
                expected=f"step {offered.step}, the same files as on the first node",
                remedy="share the folder between the nodes, or set training_shared_checkpoints: copy",
            )


def alive(node_group: NodeGroup, place: Place) -> dict[str, Any] | None:
    """{"attempt", "same", "phase", "step", "age"} of the first node; None when it cannot be reached within 5 s.

    same: it is in the attempt that this node joined. When not, this node's own processes are of a dead attempt.
    """
    try:
        found = Client(node_group.master, node_group.port, node_group.proof, timeout=5.0).ask("/alive")
    except (UnreachableError, FleetError):
        return None
    return {**found, "same": found.get("attempt") == joined(place, node_group.rank)}
