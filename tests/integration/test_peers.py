"""Two nodes of one run on this machine: real trainings under real supervisors, which lose a node and start again.

Needs an interpreter with torch, named by MINICANVAS_PYTHON.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from demo.minicanvas import tiny_model
from demo.puzzles import generate
from tests.integration.minicanvas_run import PYTHON, Run, kill
from tests.unit.support.supervised import Supervised

pytestmark = pytest.mark.skipif(not PYTHON, reason="MINICANVAS_PYTHON names no interpreter with torch")
EVERY = 20
FINISHED, AGAIN = 0, 75
LIMITS = {"load_seconds": 300, "first_step_seconds": 300, "save_seconds": 120, "step_seconds": 30.0}


def free_ports() -> tuple[int, int]:
    """Different ones: asked for one after the other, the system may give the same twice."""
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])


class Telling(Supervised):
    """Its words come while it runs."""

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line)


class Node:
    """One node: a deployment of its own, and a supervisor that is started again as systemd would."""

    def __init__(self, root: Path, made: Path, rank: int, ports: tuple[int, int]) -> None:
        self.root, self.rank = root, rank
        self.run = Run(root / "deployment", made)
        self.torchrun = [
            PYTHON, "-m", "torch.distributed.run", "--nnodes=2", f"--node_rank={rank}", "--nproc_per_node=1",
            "--master_addr=127.0.0.1", f"--master_port={ports[0]}", "-m", "train.pretrain_unified_navit",
        ]  # fmt: skip
        self.supervised = Telling(
            root, results_dir=str(self.run.out), checkpoint_dir=str(self.run.checkpoints), shards=1, nnodes=2,
            node_rank=rank, hosts=["first", "second"], addresses=["127.0.0.1", "127.0.0.1"], master_addr="127.0.0.1",
            peer_port=ports[1], **LIMITS, save_every=EVERY, log=str(self.run.out / "log.txt"),
            shared_checkpoints=False, restarts=9,
        )  # fmt: skip
        self.end_at(100000)
        self.ends: list[int] = []
        self._closed = threading.Event()

    def end_at(self, step: int) -> None:
        """From the next start on."""
        flags = self.run.flags(save_every=EVERY, total_steps=step, num_replicate=2, num_shard=1)
        command = shlex.join([*self.torchrun, *flags])
        self.supervised.script.write_text(f"#!/bin/bash\ncd {self.run.code}\nexec {command}\n")
        self.supervised.spec["total_steps"] = step

    def start(self) -> Node:
        self._closed.clear()
        self.supervised.start()
        threading.Thread(target=self._again, daemon=True).start()
        return self

    def _again(self) -> None:
        while not self._closed.is_set():
            code = self.supervised.process.wait()
            self.ends.append(code)
            if code == FINISHED or self._closed.wait(0.5):
                return
            (self.supervised.own / "tries.json").unlink(missing_ok=True)  # its pause is the unit tests' affair
            self.supervised.start()

    def cut(self) -> None:
        """Like a power cut: supervisor and ranks at once."""
        self._closed.set()
        self.supervised.process.kill()
        kill(self.run.code)
        self.supervised.process.wait()

    def step(self) -> int:
        log = self.run.out / "log.txt"
        steps = re.findall(r"\(step=(\d{7})\)", log.read_text()) if log.exists() else []
        return int(steps[-1]) if steps else -1

    def said(self) -> str:
        return "".join(self.supervised.output)

    def saves(self) -> list[str]:
        return sorted(path.name for path in self.run.checkpoints.iterdir())


def until(true: Callable[[], object], nodes: list[Node], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        told = "\n---\n".join("\n".join(node.said().splitlines()[-25:]) for node in nodes)
        assert time.monotonic() < end, f"it never happened\n{told}"
        time.sleep(0.1)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    tiny_model.write_model(tmp_path / "made/model")
    generate.write_dataset(tmp_path / "made/output", rows_train=120, rows_test=12)
    ports = free_ports()
    both = [Node(tmp_path / f"node{rank}", tmp_path / "made", rank, ports) for rank in (0, 1)]
    yield both
    for node in both:
        with suppress(ProcessLookupError):
            node.cut()


def resumed(node: Node) -> list[int]:
    return [int(step) for step in re.findall(r"resumes from step (\d+)", node.said())]


def test_a_node_is_lost_and_all_start_again_from_the_same_checkpoint(nodes: list[Node]) -> None:
    first, second = [node.start() for node in nodes]
    until(lambda: (first.run.out / f"kept/{2 * EVERY:07d}.json").exists(), nodes)
    until(lambda: second.supervised.said("READY=1"), nodes)
    assert any("first is at step" in line for line in second.supervised.statuses())

    # Its rank dies alone.
    at = first.step()
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if path.readlink() == second.run.code:
                os.kill(int(path.parent.name), signal.SIGKILL)
    until(lambda: first.step() > at + EVERY and len(resumed(second)) >= 1, nodes)
    assert resumed(first)[-1] == resumed(second)[-1]
    assert resumed(first)[-1] >= at - EVERY
    copy = second.run.checkpoints / f"{resumed(second)[-1]:07d}"
    assert {path.name for path in copy.iterdir()} >= {"model.safetensors", "scheduler.pt", "data_status.pt"}

    # The whole node is lost, and comes back with an empty disk.
    before, at = len(resumed(first)), first.step()
    last = at - at % EVERY + 2 * EVERY
    for node in nodes:
        node.end_at(last)
    second.cut()
    shutil.rmtree(second.run.checkpoints)
    shutil.rmtree(second.run.out / "kept")
    second.run.checkpoints.mkdir()
    second.start()
    until(lambda: FINISHED in first.ends and FINISHED in second.ends, nodes)
    assert len(resumed(first)) > before
    assert resumed(first)[-1] == resumed(second)[-1] >= at - EVERY
    assert first.saves()[-1] == f"{last:07d}"
    assert {*first.ends} == {AGAIN, FINISHED}
    assert re.search(r"^(PEER_LOST|RANK_KILLED): ", first.said(), re.MULTILINE)
