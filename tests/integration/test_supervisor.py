"""The supervisor around real trainings: torch, real ranks, real checkpoints; systemd's protocol, no systemd.

Needs an interpreter with torch, named by MINICANVAS_PYTHON: the project's own environment has none.
"""

from __future__ import annotations

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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Training:
    """A deployment of the demo's trainer on two ranks, its script, and a supervisor for it."""

    def __init__(self, folder: Path, made: Path) -> None:
        self.run = Run(folder, made, groups=4)
        limits = {"load_seconds": 120, "first_step_seconds": 60, "save_seconds": 60, "step_seconds": 3.0}
        self.supervised = Supervised(
            folder / "unit", **limits, results_dir=str(self.run.out), checkpoint_dir=str(self.run.checkpoints)
        )

    def start(self, **flags: Any) -> Supervised:
        told = {"num_shard": 2, "save_every": 5, "num_workers": 1, **flags}
        self.supervised.spec["save_every"] = told["save_every"]
        torchrun = [
            PYTHON, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1",
            f"--master_port={free_port()}", "-m", "train.pretrain_unified_navit", *self.run.flags(**told),
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
