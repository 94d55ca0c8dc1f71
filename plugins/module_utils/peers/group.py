"""All nodes of a run start from the same checkpoint, together.

The first node decides and offers (peers_server). The others fetch what they lack, say that they are ready, and start
when all are. Each start has a name of its own, the attempt: a node that was in one does not join it twice, because the
trainer's processes of that attempt are dead or dying; it waits for the next one.
"""

from __future__ import annotations

import contextlib
import os
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
from ..trainer import checkpoint as checkpoints
from ..trainer.checkpoint import Checkpoint
from . import fetch
from .client import Client, UnreachableError
from .server import Heart, Offer, Server, allowed_by

PORT = 29601
PATIENCE = 1800.0  # seconds without any sign of life of those that are waited for
PAUSE = 1.0  # seconds between two questions
WORDS = 30.0  # seconds between two words about a wait
SETTLE = 60.0  # seconds until a shared folder shows the same to all nodes
Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Crew:
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
    patience: float = PATIENCE


class Wait:
    """A wait that is told of every half a minute, and ends after `patience` seconds without a sign of life."""

    def __init__(self, patience: float, say: Say, ended: Callable[[float], bool]) -> None:
        self._patience, self._say, self._ended = patience, say, ended
        self._alive = self._told = time.monotonic()

    def alive(self) -> None:
        self._alive = time.monotonic()

    def pause(self, what: str, variable: str = "") -> None:
        """Raises FleetError when patience is at its end, or the unit is being stopped."""
        now = time.monotonic()
        if now - self._told >= WORDS:
            self._told = now
            self._say(f"waits for {what}, {now - self._alive:.0f} s of at most {self._patience:.0f} s without a sign")
        if self._ended(PAUSE):
            raise FleetError("the start was called off", found=f"waited for {what}")
        if now - self._alive > self._patience:
            raise PeersError(
                "the nodes of the run did not come together",
                variable=variable,
                found=f"waited {self._patience:.0f} s for {what}",
                expected="all nodes of the run up, and their port open between them",
            )


def crew_of(spec: Mapping[str, Any]) -> Crew:
    """From the unit's spec."""
    hosts = tuple(str(host) for host in spec.get("addresses") or spec.get("hosts") or ())
    return Crew(
        run=str(spec.get("run") or ""),
        nnodes=int(spec.get("nnodes") or 1),
        rank=int(spec.get("node_rank") or 0),
        hosts=hosts,
        master=str(spec.get("master_addr") or (hosts[0] if hosts else "")),
        port=int(spec.get("peer_port", PORT)),
        resume=bool(spec.get("auto_resume", True)),
        share="shared" if spec.get("share") in (True, "shared") else "copy",
        shards=int(spec.get("shards") or 0),
        patience=float(spec.get("peer_patience") or PATIENCE),
    )


def serve(crew: Crew, networks: Iterable[str], heart: Heart) -> Server:
    """The first node's server. Raises FleetError for a port that is taken, and for a network that is none."""
    hosts = (*crew.hosts, crew.master)
    try:
        allowed = allowed_by(hosts, tuple(networks))
    except ValueError as error:
        raise FleetError("a network is not one", variable="training_peer_allow", found=str(error)) from error
    return Server(crew.port, allowed, heart, any(":" in host for host in hosts))


def offer_of(crew: Crew, place: Place, target: Checkpoint | None) -> Offer:
    """A new attempt that resumes from `target`. Served are its links, where there are: nobody deletes those."""
    offer = Offer(crew.run, crew.nnodes, crew.share, crew.resume, secrets.token_hex(8))
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


def gather(server: Server, offer: Offer, crew: Crew, say: Say, ended: Callable[[float], bool]) -> None:
    """On the first node: wait until all others are ready, then let all go. Raises FleetError."""
    server.make(offer)
    wait, seen = Wait(crew.patience, say, ended), offer.seen
    while missing := offer.missing(time.monotonic()):
        if offer.seen != seen:
            seen = offer.seen
            wait.alive()
        wait.pause(f"nodes {', '.join(f'{rank} ({crew.hosts[rank]})' for rank in missing)}", "training_peer_port")
    with server.changed:
        offer.phase = "training"
    say(f"all {crew.nnodes} nodes are ready: attempt {offer.attempt}")


def join(crew: Crew, place: Place, say: Say, ended: Callable[[float], bool]) -> Checkpoint | None:
    """On every other node: come to the first node's checkpoint, and return when all start. Raises FleetError."""
    client, wait, last = Client(crew.master, crew.port), Wait(crew.patience, say, ended), joined(place, crew.rank)
    while True:
        with contextlib.suppress(UnreachableError):
            answer = client.ask(f"/start?rank={crew.rank}&last={quote(last)}")
            wait.alive()
            if agree(crew, answer)["attempt"] != last:
                target = follow(crew, place, answer, client, say, ended)
                if _go(client, crew, place, answer, wait):
                    return target
                continue
        wait.pause(f"the first node ({crew.master}:{crew.port})", "training_peer_port")


def agree(crew: Crew, answer: Answer) -> Answer:
    """Raises FleetError when the first node speaks of another run, or of another shape of it."""
    for name in ("run", "nnodes", "share", "resume"):
        if answer.get(name) != getattr(crew, name):
            raise FleetError(
                "the first node does not speak of this run",
                variable="training_share" if name == "share" else "training_peer_port",
                found=f"{crew.master}:{crew.port}: {name} {answer.get(name)}",
                expected=f"{name} {getattr(crew, name)}",
                remedy="converge all nodes of the run alike; each run needs a port of its own",
            )
    return answer


def _go(client: Client, crew: Crew, place: Place, answer: Answer, wait: Wait) -> bool:
    """Say ready until all go; False when the first node has begun another attempt meanwhile."""
    attempt = str(answer["attempt"])
    while True:
        with contextlib.suppress(UnreachableError):
            said = client.ask(f"/ready?rank={crew.rank}&attempt={quote(attempt)}")
            wait.alive()
            if said.get("attempt") != attempt:
                return False
            if said.get("go"):
                remember(place, crew.rank, attempt)
                return True
        wait.pause("the other nodes of the run", "training_peer_port")


def joined(place: Place, rank: int) -> str:
    """The attempt that this node was in last; "" when in none. `attempt` without a rank: of an earlier version."""
    for name in (f"attempt-{rank}", "attempt"):
        with contextlib.suppress(OSError), open(f"{place.kept}/{name}", encoding="utf-8") as source:
            return source.read().strip()
    return ""


def remember(place: Place, rank: int, attempt: str) -> None:
    """A file for each rank: in a shared folder several nodes would rename each other's away."""
    path = f"{place.kept}/attempt-{rank}"
    os.makedirs(place.kept, exist_ok=True)
    with open(f"{path}.new", "w", encoding="utf-8") as target:
        target.write(attempt + "\n")
    os.replace(f"{path}.new", path)


def follow(
    crew: Crew, place: Place, answer: Answer, client: Client, say: Say, ended: Callable[[float], bool]
) -> Checkpoint | None:
    """Make this node's newest checkpoint the one of the answer."""
    step = answer.get("step")
    if not crew.resume:
        return None
    if crew.share == "shared":
        return _sees(place, answer, ended)
    if step is not None and not fetch.has(place, answer):
        fetch.fetch(place, answer, client, say, ended)
    seen = checkpoint_guard.look(place)
    if step is None:
        decision = checkpoint_guard.towards(seen, place, None)
    else:
        decision = checkpoint_guard.back_to(seen, place, int(step))
    checkpoint_guard.refuse_other_shards(decision.target, crew.shards)
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
                variable="training_share",
                found=f"{place.checkpoints}: newest {newest.path if newest else 'none'}",
                expected=f"step {answer.get('step')}, the same files as on the first node",
                remedy="share the folder between the nodes, or set training_share: copy",
            )


def alive(crew: Crew, place: Place) -> dict[str, Any] | None:
    """{"attempt", "same", "phase", "step", "age"} of the first node; None when it cannot be reached within 5 s.

    same: it is in the attempt that this node joined. When not, this node's own processes are of a dead attempt.
    """
    try:
        found = Client(crew.master, crew.port, timeout=5.0).ask("/alive")
    except (UnreachableError, FleetError):
        return None
    return {**found, "same": found.get("attempt") == joined(place, crew.rank)}
