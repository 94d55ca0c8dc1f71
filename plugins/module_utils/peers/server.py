"""What the first node of a run tells the others: which start this is, which checkpoint it resumes from, and its files.

Read only, over plain HTTP, to the run's own addresses and no others: the network between the nodes of a run is taken
to be private, as torch's own rendezvous and NCCL take it to be. No path of a request ever becomes a path on the disk:
a name is looked up among the offered files.

    /start?rank=1&last=…      {"run", "nnodes", "share", "resume", "attempt", "phase", "step", "files": […]}
    /ready?rank=1&attempt=…   {"attempt", "go"}: all are ready, start now
    /alive                    {"attempt", "phase", "step", "age"}: last step, and seconds since it came
    /file/<step>/<name>       content, with Range
    /sha256/<step>/<name>     {"sha256"}; "" while it is being computed
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from ..checkpoints import seal as checkpoint_seal
from ..checkpoints.errors import PeersError
from ..system.files import open_plain

READY_FOR = 10.0  # seconds for which a node that said it is ready counts as ready; it says so every second
LONG = 5.0  # seconds that one question may wait for its answer
BLOCK = 1 << 20
RANGE = re.compile(r"bytes=(\d+)-")


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
    """The newest step and when it was seen to come. Monotonic: a clock that jumps is no silence."""

    def __init__(self, log: str = "", now: Callable[[], float] = time.monotonic) -> None:
        self._log, self._now = log, now
        self.step: int | None = None
        self.phase = ""
        self._since, self._noted = now(), False

    def reads(self, log: str) -> None:
        """Where to look for the step while nobody notes it."""
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


class Server(ThreadingHTTPServer):
    """Serves one run from the moment it is made until close()."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int, allowed: Callable[[str], bool], heartbeat: Heartbeat, wide: bool = False) -> None:
        """wide: there are IPv6 addresses among the hosts."""
        self.allowed, self.heartbeat = allowed, heartbeat
        self.address_family = socket.AF_INET6 if wide else socket.AF_INET
        self.offer: Offer | None = None
        self.changed = threading.Condition()
        self._digesting: set[str] = set()
        try:
            super().__init__(("", port), Handler)
        except OSError as error:
            raise PeersError(
                "the port on which the nodes of a run agree is not free",
                variable="training_peer_port",
                found=f"port {port}: {error.strerror}",
                expected="a port that nothing else of this host listens on, another one for each run",
            ) from error
        threading.Thread(target=self.serve_forever, args=(0.1,), name="peers", daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def make(self, offer: Offer) -> None:
        with self.changed:
            self.offer = offer
            offer.seen = time.monotonic()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A node that hung up is no news."""

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


class Handler(BaseHTTPRequestHandler):
    """One request of a node."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        """The supervisor's own words are enough."""

    def do_GET(self) -> None:
        address = plain_address(str(self.client_address[0]))
        if not self.server.allowed(address):
            return self._say(403, {"error": f"{address} is none of the run's addresses"})
        offer = self.server.offer
        if offer is None:
            return self._say(503, {"error": "not decided yet"})
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.split("/")[1:]]
        if parts == ["alive"]:
            return self._say(200, {"attempt": offer.attempt, "phase": offer.phase, **self.server.heartbeat.state()})
        if parts == ["ready"]:
            return self._ready(offer, parse_qs(url.query))
        offer.seen = time.monotonic()
        if parts == ["start"]:
            return self._start(offer, parse_qs(url.query))
        entry = next((one for one in offer.files if len(parts) == 3 and one["name"] == parts[2]), None)
        if entry is None or parts[0] not in ("file", "sha256") or parts[1] != str(offer.step):
            return self._say(404, {"error": "not offered"})
        if parts[0] == "sha256":
            return self._say(200, {"sha256": self.server.digest(offer, parts[2])})
        return self._file(f"{offer.folder}/{parts[2]}", int(entry["size"]))

    def _say(self, status: int, answer: Mapping[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _start(self, offer: Offer, query: Mapping[str, list[str]]) -> None:
        last, rank = query.get("last", [""])[0], query.get("rank", [""])[0]
        if last == offer.attempt and rank.isdigit():
            offer.lost.add(int(rank))
        self._say(200, offer.as_answer())

    def _ready(self, offer: Offer, query: Mapping[str, list[str]]) -> None:
        attempt, rank = query.get("attempt", [""])[0], query.get("rank", [""])[0]
        if attempt == offer.attempt and rank.isdigit() and 0 < int(rank) < offer.nnodes:
            with self.server.changed:
                now = time.monotonic()
                # Said each second: were it news each time, those that are ready would wait for a dead node for ever.
                offer.seen = offer.seen if int(rank) in offer.ready else now
                offer.ready[int(rank)] = now
                self.server.changed.notify_all()
        self._say(200, {"attempt": offer.attempt, "go": attempt == offer.attempt and offer.phase == "training"})

    def _file(self, path: str, size: int) -> None:
        match = RANGE.fullmatch(self.headers.get("Range", ""))
        begin = int(match[1]) if match else 0
        try:
            source, now = open_plain(path)
        except OSError as error:
            return self._say(404, {"error": str(error.strerror)})
        with source:
            if now != size or begin > size:
                return self._say(416, {"error": f"{now} bytes, {size} were offered"})
            self.send_response(206 if match else 200)
            self.send_header("Content-Length", str(size - begin))
            if match:
                self.send_header("Content-Range", f"bytes {begin}-{max(begin, size - 1)}/{size}")
            self.end_headers()
            self._send(source, begin)
        return None

    def _send(self, source: BinaryIO, begin: int) -> None:
        self.close_connection = True  # should the file end early, the other side must not wait for the rest
        source.seek(begin)
        while block := source.read(BLOCK):
            self.wfile.write(block)
            if self.server.offer is not None:
                self.server.offer.seen = time.monotonic()


def plain_address(address: str) -> str:
    """An IPv4 address that came over an IPv6 socket, as itself."""
    return address[7:] if address.startswith("::ffff:") else address


def allowed_by(hosts: tuple[str, ...], networks: tuple[str, ...] = ()) -> Callable[[str], bool]:
    """Is an address one of the run's hosts, or in one of the networks that the user named? Names are looked up anew
    when an address is not known: a host that came back may have another one.
    """
    wide = [ipaddress.ip_network(text, strict=False) for text in networks]
    known: set[str] = set()

    def is_allowed(address: str) -> bool:
        if address not in known:
            for host in hosts:
                with contextlib.suppress(OSError):
                    known.update(str(found[4][0]) for found in socket.getaddrinfo(host, None))
        return address in known or any(ipaddress.ip_address(address) in network for network in wide)

    return is_allowed
