"""Trainings of the demo's trainer that are killed in the middle of a save, and go on after the guard's work."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import guard as supervisor_guard
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import checkpoint as judge

from tests.chaos.saves import EVERY, Point
from tests.integration import minicanvas_run
from tests.unit.support.saves import FILES, SHARDS

FLAGS: dict[str, Any] = {"save_every": EVERY, "total_steps": 100000, "num_shard": SHARDS}
ADAPTERS = {"freeze_llm": True, "freeze_vit": True, "ema": 0, "fleet_lora_rank": 8, "fleet_lora_alpha": 16}
START = 240.0  # seconds for a start on a busy machine


def code(root: Path) -> Path:
    return root / "first" / "BAGEL-Canvas"


def checkpoints(root: Path, steps: tuple[int, ...], lora: bool = False) -> Path:
    """A folder with the real trainer's checkpoints of these steps, all of them whole."""
    run = minicanvas_run.Run(root / ("adapters" if lora else "first"), root / "made")
    flags = {**FLAGS, **(ADAPTERS if lora else {}), "total_steps": steps[-1], "del_previous_state": False}
    if run(SHARDS, **flags) != 0:
        raise RuntimeError(f"a training that nobody disturbs fails:\n{run.stderr[-2000:]}")
    target = root / ("real-adapters" if lora else "real")
    shutil.copytree(run.checkpoints, target)
    return target


class Watch(threading.Thread):
    """What the supervisor does: seals each save once it is whole."""

    def __init__(self, run: minicanvas_run.Run, spec: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._run, self._spec, self._end = run, spec, threading.Event()
        self.sealed = {one.step for one in judge.survey(str(run.checkpoints)).checkpoints}

    def run(self) -> None:
        while not self._end.wait(0.05):
            for one in judge.survey(str(self._run.checkpoints)).checkpoints:
                if one.whole and one.step not in self.sealed:
                    supervisor_guard.after_save({**self._spec, "save_timeout": 2.0}, one.step, lambda _: None)
                    self.sealed.add(one.step)

    def close(self) -> None:
        self._end.set()
        supervisor_guard.close()
        self.join()


def kill(root: Path, count: int) -> Iterator[Point]:
    """One run, killed `count` times in a save, each time further on."""
    run = minicanvas_run.Run(root / "killed", root / "made")
    spec = {"results_dir": str(run.out), "checkpoint_dir": str(run.checkpoints), "shards": SHARDS, "save_every": EVERY}
    process = run.start(SHARDS, **FLAGS)
    resumed, told = _first(process, run)
    try:
        for number in range(count):
            begun, where = _killed_in_a_save(process, run, spec, resumed, number)
            before, whole = _content(run.out), _whole(run.checkpoints)
            supervisor_guard.before_start(spec, lambda _: None)
            process = run.start(SHARDS, **FLAGS)
            resumed, told = _first(process, run)
            yield Point("really killed", where, whole, resumed, begun - resumed, len(before - _content(run.out)), told)
    finally:
        minicanvas_run.kill(run.code)
        process.wait()


def _killed_in_a_save(
    process: subprocess.Popen[bytes], run: minicanvas_run.Run, spec: dict[str, Any], resumed: int, number: int
) -> tuple[int, str]:
    """Kills all ranks when a save has so many files, the second or third save after a start; returns its step."""
    chance = random.Random(number)  # noqa: S311 - repeatable, not secret
    target, files = max(resumed, 0) + EVERY * chance.randint(2, 3), number % (len(FILES) + 1)
    folder, watch = run.checkpoints / f"{target:07d}", Watch(run, spec)
    watch.start()
    try:
        _until(lambda: bool(run.steps()) and max(run.steps()) > target - EVERY, process, run)
        ranks = _processes(run.code)
        _until(lambda: folder.exists() and len(os.listdir(folder)) >= files, process, run, 0.0)
        for rank in ranks:
            os.kill(rank, signal.SIGKILL)
    finally:
        minicanvas_run.kill(run.code)
        process.wait()
        watch.close()
    there = sum(path.stat().st_size for path in folder.iterdir())
    return target, f"in the save of step {target} at file {files}, {len(list(folder.iterdir()))} there, {there} bytes"


def _processes(folder: Path) -> list[int]:
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if link.readlink() == folder:
                found.append(int(link.parent.name))
    return found


def _first(process: subprocess.Popen[bytes], run: minicanvas_run.Run) -> tuple[int, str]:
    """What the trainer itself resumed from, proved by the first step it logs; -1 for a new beginning."""
    try:
        _until(lambda: bool(run.steps()), process, run)
    except RuntimeError as error:
        return -2, str(error)[-300:]
    found = re.search(r"Training for \d+ steps, starting at (\d+)", run.stderr)
    first = min(run.steps())
    return (first - 1, "") if found and int(found[1]) == first else (-2, "its first step is another than it said")


def _until(true: Any, process: subprocess.Popen[bytes], run: minicanvas_run.Run, pause: float = 0.05) -> None:
    end = time.monotonic() + START
    while not true():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the training ended or never came so far:\n{run.stderr[-2000:]}")
        time.sleep(pause)


def _whole(folder: Path) -> int:
    newest = judge.survey(str(folder)).newest_whole
    links = judge.survey(str(folder.parent / "kept")).newest_whole
    return max((one.step for one in (newest, links) if one), default=-1)


def _content(root: Path) -> set[bytes]:
    """Digests of all that lies in the checkpoints and in what is kept of them."""
    found = set()
    for path in (*root.glob("checkpoints/**/*"), *root.glob("kept/**/*")):
        if path.is_file() and path.suffix != ".json":
            found.add(sha256(path.read_bytes()).digest())
    return found
