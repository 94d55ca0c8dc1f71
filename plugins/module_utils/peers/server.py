"""The first node's server: it names the attempt and its checkpoint, and serves the files.

It is read-only and answers only nodes that proved the run's secret (door.py, protocol.py). A path in a question never
becomes a path on the disk: names are looked up among the offered files.

    /start?rank=1&last=…      {"run", "nnodes", "share", "resume", "attempt", "phase", "step", "files": […]}
    /ready?rank=1&attempt=…   {"attempt", "go"}: all are ready, start now
    /alive                    {"attempt", "phase", "step", "age"}: last step, and seconds since it came
    /file/<step>/<name>       content from a byte on
    /sha256/<step>/<name>     {"sha256"}; "" while it is being computed
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from ..checkpoints import seal as checkpoint_seal
from ..system.files import open_plain
from . import protocol
from .door import Door
from .protocol import CONTENT, Question
from .secret import RunKey

READY_FOR = 10.0  # seconds for which a node that said it is ready counts as ready; it says so every second
LONG = 5.0  # seconds that one question may wait for its answer
SEND = 60.0  # seconds that a block, or a whole answer, may take to be taken
BLOCK = 1 << 20
AT_ONCE = 4  # questions of a node that are answered at the same time


@dataclass
class Offer:
    """One start of the run. `files` of the checkpoint that lies in `folder`; step None: the run begins anew."""

    run: str
    nnodes: int
    share: str
    resume: bool
    attempt: str
    step: int | None = None
    folder: str = ""
    files: tuple[Mapping[str, Any], ...] = ()
    digests: dict[str, str] = field(default_factory=dict)  # file -> sha256, as far as known
    phase: str = "gathering"  # then training
    ready: dict[int, float] = field(default_factory=dict)  # rank -> when it last said so, monotonic
    lost: set[int] = field(default_factory=set)  # ranks that were in this attempt and ask for the next one
    seen: float = 0.0  # when any node last came nearer to its start, monotonic

    def as_answer(self) -> dict[str, Any]:
        names = ("run", "nnodes", "share", "resume", "attempt", "phase", "step")
        return {**{name: getattr(self, name) for name in names}, "files": [dict(one) for one in self.files]}

    def missing(self, now: float) -> list[int]:
        """Ranks that are not ready, or were and have not said so lately."""
        return [rank for rank in range(1, self.nnodes) if now - self.ready.get(rank, -READY_FOR * 2) > READY_FOR]


class Heartbeat:
    """The newest step and the time when it was seen, by the monotonic clock."""

    def __init__(self, log: str = "", now: Callable[[], float] = time.monotonic) -> None:
        self._log, self._now = log, now
        self.step: int | None = None
        self.phase = ""
        self._since, self._noted = now(), False

    def reads(self, log: str) -> None:
        """Read the step from the log until the supervisor reports it."""
        self._log = log

    def note(self, phase: str, step: int | None) -> None:
        """What the supervisor saw; from then on the log is not read any more."""
        self._noted = True
        if (phase, step) != (self.phase, self.step):
            self.phase, self.step, self._since = phase, step, self._now()

    def state(self) -> dict[str, Any]:
        if not self._noted and (step := _last_step(self._log)) != self.step:
            self.step, self._since = step, self._now()
        return {"doing": self.phase, "step": self.step, "age": round(self._now() - self._since, 1)}


def _last_step(log: str) -> int | None:
    try:
        source, size = open_plain(log)
    except OSError:
        return None
    with source:
        source.seek(max(0, size - (1 << 16)))
        steps = re.findall(rb"\(step=(\d+)\)", source.read())
    return int(steps[-1]) if steps else None


@dataclass(frozen=True)
class Reply:
    """`source`: an open file, whose content from `begin` on is the body."""

    status: int
    body: bytes = b""
    source: BinaryIO | None = None
    begin: int = 0
    length: int = 0


def _json(status: int, answer: Mapping[str, Any]) -> Reply:
    return Reply(status, json.dumps(answer).encode())


class Server:
    """Serves one run at a listening socket from the moment it is made until close()."""

    def __init__(
        self,
        listening: socket.socket,
        allowed: Callable[[str], bool],
        heartbeat: Heartbeat,
        key: RunKey,
        nnodes: int = 2,
    ) -> None:
        self.heartbeat = heartbeat
        self.offer: Offer | None = None
        self.changed = threading.Condition()
        self._key = key
        self._digesting: set[str] = set()
        self.port = int(listening.getsockname()[1])
        self.door = Door(listening, allowed, key, self._answer, at_once=AT_ONCE * max(1, nnodes))

    def close(self) -> None:
        self.door.close()

    def make(self, offer: Offer) -> None:
        with self.changed:
            self.offer = offer
            offer.seen = time.monotonic()

    def digest(self, offer: Offer, name: str) -> str:
        """sha256 of an offered file; "" when it is still being computed after LONG seconds."""
        with self.changed:
            if name not in offer.digests and name not in self._digesting:
                self._digesting.add(name)
                threading.Thread(target=self._compute, args=(offer, name), daemon=True).start()
            self.changed.wait_for(lambda: name in offer.digests, LONG)
            return offer.digests.get(name, "")

    def _compute(self, offer: Offer, name: str) -> None:
        found = ""
        with contextlib.suppress(OSError):
            found = checkpoint_seal.sha256_of(f"{offer.folder}/{name}")
        with self.changed:
            self._digesting.discard(name)
            if found:
                offer.digests[name] = found
            self.changed.notify_all()

    def _answer(self, connection: socket.socket, question: Question) -> None:
        connection.settimeout(SEND)
        reply = self.reply(question)
        if reply.source is None:
            body = reply.body
            head = protocol.head_line(self._key, question.proof, reply.status, len(body), protocol.digest_of(body))
            connection.sendall(head + body)
            return
        with reply.source as source:
            connection.sendall(protocol.head_line(self._key, question.proof, reply.status, reply.length, CONTENT))
            source.seek(reply.begin)
            while block := source.read(BLOCK):
                connection.sendall(block)
                if self.offer is not None:
                    self.offer.seen = time.monotonic()

    def reply(self, question: Question) -> Reply:
        offer = self.offer
        if offer is None:
            return _json(503, {"error": "not decided yet"})
        url = urlsplit(question.path)
        parts, query = [unquote(part) for part in url.path.split("/")[1:]], parse_qs(url.query)
        if parts == ["alive"]:
            return _json(200, {"attempt": offer.attempt, "phase": offer.phase, **self.heartbeat.state()})
        if parts == ["ready"]:
            return self._ready(offer, query)
        offer.seen = time.monotonic()
        if parts == ["start"]:
            return self._start(offer, query)
        entry = next((one for one in offer.files if len(parts) == 3 and one["name"] == parts[2]), None)
        if entry is None or parts[0] not in ("file", "sha256") or parts[1] != str(offer.step):
            return _json(404, {"error": "not offered"})
        if parts[0] == "sha256":
            return _json(200, {"sha256": self.digest(offer, parts[2])})
        return _file(f"{offer.folder}/{parts[2]}", int(entry["size"]), question.begin)

    def _start(self, offer: Offer, query: Mapping[str, list[str]]) -> Reply:
        last, rank = query.get("last", [""])[0], _rank(query, offer)
        if last == offer.attempt and rank:
            offer.lost.add(rank)
        return _json(200, offer.as_answer())

    def _ready(self, offer: Offer, query: Mapping[str, list[str]]) -> Reply:
        attempt, rank = query.get("attempt", [""])[0], _rank(query, offer)
        if attempt == offer.attempt and rank:
            with self.changed:
                now = time.monotonic()
                # Said each second: were it news each time, those that are ready would wait for a dead node for ever.
                offer.seen = offer.seen if rank in offer.ready else now
                offer.ready[rank] = now
                self.changed.notify_all()
        return _json(200, {"attempt": offer.attempt, "go": attempt == offer.attempt and offer.phase == "training"})


def _rank(query: Mapping[str, list[str]], offer: Offer) -> int:
    """The asking node's rank; 0 for none of this run."""
    match = re.fullmatch(r"[0-9]{1,6}", query.get("rank", [""])[0])
    rank = int(match[0]) if match else 0
    return rank if rank < offer.nnodes else 0


def _file(path: str, size: int, begin: int) -> Reply:
    try:
        source, now = open_plain(path)
    except OSError as error:
        return _json(404, {"error": str(error.strerror)})
    if now != size or begin > size:
        source.close()
        return _json(416, {"error": f"{now} bytes, {size} were offered"})
    return Reply(200, source=source, begin=begin, length=size - begin)
