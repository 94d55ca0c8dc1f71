"""Two nodes of a run under real supervisors, with the stand-in for the trainer, and a flood on the first one's port."""

from __future__ import annotations

import itertools
import os
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.peers.client import Client, UnreachableError
from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import run_key

from tests.unit.support.nodes import SECRET
from tests.unit.support.supervised import Supervised, wait_for

SOURCES = {"a stranger": "127.0.0.2", "an allowed address": "127.0.0.1"}
SAID = (b"", b"f", b"GET /start?rank=1 HTTP/1.1\r\n\r\n", b"fleet-peers/2 " + b"x" * 2000)
SECONDS = 120.0  # at most, for one flood
LIMITS = {"load_seconds": 60, "first_step_seconds": 60, "save_seconds": 60, "step_seconds": 10.0}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Run:
    """The run "atlas" on two nodes of this machine, which trains until it is ended."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.nodes = [self._node(folder / f"node{rank}", rank) for rank in (0, 1)]
        self.first, self.second = self.nodes

    def _node(self, folder: Path, rank: int) -> Supervised:
        made = Supervised(
            folder, nnodes=2, node_rank=rank, hosts=["first", "second"], addresses=["127.0.0.1"] * 2,
            master_addr="127.0.0.1", peer_port=self.port, **LIMITS, total_steps=10**6, save_every=0, restarts=0,
        )  # fmt: skip
        return made.standin("--step-seconds 0.05 --log-every 1 --save-every 1000000 --total 1000000")

    def start(self) -> Run:
        for node in self.nodes:
            node.start()
        wait_for(
            lambda: self.first.step() > 3 and any("first is at step" in text for text in self.second.statuses()), 60
        )
        return self

    def end(self) -> None:
        for node in self.nodes:
            node.process.kill()
            for pid in node.ranks():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            node.process.wait()

    @property
    def lives(self) -> bool:
        return all(node.process.poll() is None and not node.record("failure.json") for node in self.nodes)

    def usage(self) -> dict[str, int]:
        """Threads, and memory in KiB, of the first node's supervisor."""
        text = Path(f"/proc/{self.first.process.pid}/status").read_text()
        return {name: int(re.findall(rf"{name}:\s+(\d+)", text)[0]) for name in ("Threads", "VmRSS")}


class Asking(threading.Thread):
    """Another node of the run, which holds the secret and asks all the time."""

    def __init__(self, run: Run) -> None:
        super().__init__(daemon=True)
        self._run, self._end = run, threading.Event()
        self.answers, self.tries, self.slowest = 0, 0, 0.0
        self.most = dict.fromkeys(("Threads", "VmRSS"), 0)

    def run(self) -> None:
        client = Client("127.0.0.1", self._run.port, run_key(SECRET, "atlas"), 5.0)
        while not self._end.wait(0.02):
            began = time.monotonic()
            self.tries += 1
            with suppress(UnreachableError):
                client.ask("/alive")
                self.answers += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
            self.most = {name: max(value, self.most[name]) for name, value in self._run.usage().items()}

    def close(self) -> None:
        self._end.set()
        self.join()


@contextmanager
def held(port: int, source: str, number: int) -> Iterator[int]:
    """So many connections that are never closed from here; how many were made within SECONDS."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    until, made = time.monotonic() + SECONDS, []
    for said in itertools.islice(itertools.cycle(SAID), number):
        if time.monotonic() > until:
            break
        with suppress(OSError):
            made.append(socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0)))
            made[-1].sendall(said)
    yield len(made)
    for one in made:
        one.close()


def flood(run: Run, who: str, number: int) -> dict[str, Any]:
    """What `number` connections of one kind did to a run that trains."""
    before, step, began = run.usage(), run.first.step(), time.monotonic()
    asking = Asking(run)
    asking.start()
    with held(run.port, SOURCES[who], number) as made:
        time.sleep(1.0)
        seconds = time.monotonic() - began
        steps = run.first.step() - step
    asking.close()
    wait_for(lambda: run.first.step() > step + steps, 10)
    return {
        "who": who, "connections": made, "seconds": round(seconds, 1), "steps": steps, "tries": asking.tries,
        "answers": asking.answers, "slowest": round(asking.slowest, 2),
        "threads": asking.most["Threads"] - before["Threads"], "memory_kib": asking.most["VmRSS"] - before["VmRSS"],
        "lives": run.lives,
    }  # fmt: skip
