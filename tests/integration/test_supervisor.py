"""The supervisor around real trainings: torch, real ranks, real checkpoints; systemd's protocol, no systemd.

Needs an interpreter with torch, named by MINICANVAS_PYTHON: the project's own environment has none.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.checkpoint import survey

from demo.minicanvas import tiny_model
from demo.puzzles import generate
from tests.integration.minicanvas_run import PYTHON, Run, kill, wait_for
from tests.unit.support.supervised import Supervised

pytestmark = pytest.mark.skipif(not PYTHON, reason="MINICANVAS_PYTHON names no interpreter with torch")

FINISHED, AGAIN, FINAL, STOPPED = 0, 75, 78, 79


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder and the user's data as it comes."""
    folder = tmp_path_factory.mktemp("made")
    tiny_model.write_model(folder / "model")
    generate.write_dataset(folder / "output", rows_train=120, rows_test=12)
    return folder


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Different ones: asked for one after the other, the system may give the same twice."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


class Training:
    """One node: a deployment of the demo's trainer, its script, and a supervisor for it."""

    def __init__(self, folder: Path, made: Path, node: int = 0, nnodes: int = 1, **spec: Any) -> None:
        self.run = Run(folder, made, groups=4)
        self.node, self.nnodes, self.port = node, nnodes, int(spec.pop("master_port", 0)) or free_port()
        limits = {
            "load_seconds": 120,
            "first_step_seconds": 60,
            "save_seconds": 60,
            "step_seconds": float(spec.pop("floor", 3.0)),
        }
        self.supervised = Supervised(
            folder / "unit", **limits, nnodes=nnodes, node_rank=node, hosts=["bolt0", "bolt1"][:nnodes],
            addresses=["127.0.0.1"] * nnodes, master_addr="127.0.0.1", peer_timeout=60, results_dir=str(self.run.out),
            checkpoint_dir=str(self.run.checkpoints), shards=2 // nnodes, **spec,
        )  # fmt: skip

    def start(self, **flags: Any) -> Supervised:
        processes = 2 // self.nnodes
        told = {"num_shard": processes, "num_replicate": self.nnodes, "save_every": 5, "num_workers": 1, **flags}
        self.supervised.spec["save_every"] = told["save_every"]
        torchrun = [
            PYTHON, "-m", "torch.distributed.run", f"--nnodes={self.nnodes}", f"--node_rank={self.node}",
            f"--nproc_per_node={processes}", "--master_addr=127.0.0.1", f"--master_port={self.port}",
            "-m", "train.pretrain_unified_navit", *self.run.flags(**told),
        ]  # fmt: skip
        self.supervised.script.write_text(f"cd {self.run.code}\nexec {shlex.join(torchrun)}\n")
        return self.supervised.start()

    def ranks(self) -> list[int]:
        """Process numbers of the ranks, without loader workers."""
        found: dict[int, int] = {}
        for link in Path("/proc").glob("[0-9]*/cwd"):
            try:
                words = (link.parent / "environ").read_bytes()
                if link.readlink() == self.run.code and b"\0LOCAL_RANK=" in words:
                    parent = (link.parent / "stat").read_text().rpartition(")")[2].split()[1]
                    found[int(link.parent.name)] = int(parent)
            except OSError:
                continue
        return sorted(pid for pid, parent in found.items() if parent not in found)

    def newest(self) -> int:
        """The step that the next start resumes from: a save that the death cut off is not it."""
        newest = survey(str(self.run.checkpoints)).newest_whole
        assert newest is not None
        return newest.step


@pytest.fixture
def training(tmp_path: Path, made: Path) -> Any:
    one = Training(tmp_path, made)
    yield one
    kill(one.run.code)


def steps_of(supervised: Supervised) -> int:
    return int(supervised.record("state.json").get("step") or -1)


def test_a_stop_loses_no_step_and_a_killed_rank_costs_no_more_than_the_last_save(training: Training) -> None:
    unit = training.start(total_steps=4000)
    wait_for(lambda: steps_of(unit) >= 7)
    unit.send(signal.SIGTERM)
    assert unit.end(60) == STOPPED, unit.output
    saved = training.newest()
    assert saved >= 10
    assert (training.run.out / "kept" / f"{saved:07d}.json").exists(), "sealed"
    unit = training.start(total_steps=4000)
    wait_for(lambda: steps_of(unit) >= saved + 2)
    os.kill(training.ranks()[-1], signal.SIGKILL)
    assert unit.end(60) == AGAIN, unit.output
    failure = unit.record("failure.json")
    assert (failure["kind"], failure["retry"]) == ("RANK_KILLED", True)
    assert training.ranks() == []
    (unit.own / "tries.json").unlink(missing_ok=True)  # its pause is the unit tests' affair
    last = training.newest() + 5
    assert training.start(total_steps=last).end(90) == FINISHED, unit.output
    assert f"starting at {last - 4}..." in (training.run.out / "log.txt").read_text()
    assert unit.statuses()[-1] == "finished"


def test_a_worker_that_a_signal_holds_is_named_within_the_limit(training: Training) -> None:
    unit = training.start(total_steps=4000, save_every=2000)
    wait_for(lambda: steps_of(unit) >= 8)
    held, victim = time.monotonic(), training.ranks()[-1]
    rank = re.search(rb"\0RANK=(\d+)\0", Path(f"/proc/{victim}/environ").read_bytes())
    assert rank
    os.kill(victim, signal.SIGSTOP)
    wait_for(lambda: unit.record("failure.json"), 30)
    failure = unit.record("failure.json")
    assert (failure["kind"], failure["rank"]) == ("HANG_WORKER_STOPPED", int(rank[1]))
    assert f"(rank {failure['rank']}, process {victim})" in failure["line"]
    assert time.monotonic() - held < 10, "the floor is 3 s here"
    assert unit.end(60) == AGAIN
    assert training.ranks() == []


def test_a_loader_that_starves_is_named_and_fills_nothing(training: Training) -> None:
    training.run.prepare(1)
    training.supervised.spec["first_step_seconds"] = 6
    unit = training.start(total_steps=4000)
    assert unit.end(90) == AGAIN
    assert unit.record("failure.json")["kind"] == "HANG_STARVED"
    assert len(unit.output) < 1000
    assert any("like lines suppressed" in line for line in unit.output)


def test_a_training_from_scratch_is_ended_before_its_first_step(training: Training) -> None:
    unit = training.start(total_steps=4000, resume_from="/nonexistent/model")
    assert unit.end(90) == FINAL
    assert unit.record("failure.json")["kind"] == "WEIGHTS_NOT_LOADED"
    assert unit.said("READY=1") == []
    assert training.ranks() == []


def test_a_node_that_is_lost_ends_the_step_of_all_and_they_start_again_together(tmp_path: Path, made: Path) -> None:
    ports = dict(zip(("master_port", "peer_port"), free_ports(2), strict=True))
    # The floor is what a node waits for an answer of the other one, while both load on two busy cores.
    nodes = [Training(tmp_path / f"node{rank}", made, rank, 2, floor=20.0, **ports) for rank in (0, 1)]
    try:
        units = [node.start(total_steps=4000) for node in nodes]
        wait_for(lambda: steps_of(units[0]) >= 7, 60)
        wait_for(lambda: units[1].said("READY=1") or units[1].process.poll() is not None, 30)
        assert units[1].said("READY=1"), (units[1].output, units[1].statuses()[-3:])
        assert any("bolt0 is at step" in line for line in units[1].statuses())
        units[1].process.kill()
        for pid in nodes[1].ranks():
            os.kill(pid, signal.SIGKILL)
        kill(nodes[1].run.code)
        assert units[0].end(60) == AGAIN, units[0].output
        assert units[0].record("failure.json")["kind"] in ("PEER_LOST", "RANK_KILLED")
        saved = nodes[0].newest()
        (units[0].own / "tries.json").unlink()
        units = [node.start(total_steps=saved + 5) for node in nodes]
        assert [unit.end(90) for unit in units] == [FINISHED, FINISHED], units[1].output
        assert f"starting at {saved + 1}..." in (nodes[0].run.out / "log.txt").read_text()
    finally:
        for node in nodes:
            kill(node.run.code)
