"""Saves that are cut, damaged and killed: every start resumes from the newest whole checkpoint, and nothing is lost.

Nine points of ten take the real trainer's checkpoints apart: written in its order up to a random byte, or cut, emptied,
removed and added to afterwards, some with the guard killed in its own work. Every third of them is a checkpoint of
adapters. Each is then loaded by the trainer's own code. Every tenth is a training that is really killed (SIGKILL to all
ranks) in the middle of a save, and goes on.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.supervisor import guard as supervisor_guard

from demo import torch_python
from demo.minicanvas import tiny_model
from demo.puzzles import generate
from tests.unit.support.guarded import killed_before
from tests.unit.support.saves import FILES, LORA, SHARDS, Killed

EVERY = 20
STEPS = (20, 40, 60)
LOADER = """
import sys, torch
from pathlib import Path
from safetensors.torch import load_file
from train.checkpoints import newest
for line in sys.stdin:
    try:
        folder = newest(line.strip())
        if folder is not None:
            for path in sorted(Path(folder).iterdir()):
                load_file(path) if path.suffix == ".safetensors" else None
                torch.load(path, map_location="cpu", weights_only=True) if path.suffix == ".pt" else None
            names = {path.name for path in Path(folder).iterdir()}
            assert sum(name.endswith(".pt") for name in names) >= (3 if "adapter.safetensors" in names else 4)
        print("step", int(Path(folder).name) if folder else -1, flush=True)
    except Exception as error:
        print("died of", type(error).__name__, str(error)[:100].replace(chr(10), " "), flush=True)
"""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One save that went wrong. `lost`: steps from the newest save that was begun to what was resumed from."""

    kind: str
    where: str
    expected: int
    resumed: int
    lost: int
    deleted: int  # files whose content is nowhere any more
    told: str

    @property
    def held(self) -> bool:
        return self.resumed == self.expected and self.lost <= EVERY and not self.deleted


class Loader:
    """A process with the trainer's own code, which loads what a start would load."""

    def __init__(self, code: Path) -> None:
        self._process = subprocess.Popen(
            [str(torch_python.PYTHON), "-c", LOADER], cwd=code, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def step(self, folder: Path) -> tuple[int, str]:
        """(step, "") or (-2, what it died of); step -1 for a new beginning."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        word, *rest = self._process.stdout.readline().split()
        return (int(rest[0]), "") if word == "step" else (-2, " ".join([word, *rest]))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Scene:
    """A run's folders with two sealed saves, and a third one that goes wrong."""

    def __init__(self, root: Path, real: Path, lora: bool = False) -> None:
        self.root, self.real, self.folder = root, real, root / "checkpoints"
        self.files = LORA if lora else FILES
        self.folder.mkdir()
        self.spec = {
            "results_dir": str(root), "checkpoint_dir": str(self.folder), "shards": SHARDS, "save_every": EVERY,
            "profile": "lora" if lora else "full",
        }  # fmt: skip
        self.words: list[str] = []
        for step in STEPS[:2]:
            self.save(step)
            supervisor_guard.after_save(self.spec, step, self.words.append)

    def save(self, step: int, stop: tuple[int, float] = (99, 0.0)) -> bool:
        """As the trainer does, up to a share of the file with that number; then it deletes older .pt files."""
        target = self.folder / f"{step:07d}"
        target.mkdir()
        for number, name in enumerate(self.files):
            text = (self.real / f"{step:07d}" / name).read_bytes()
            whole = number < stop[0]
            (target / name).write_bytes(text if whole else text[: int(len(text) * stop[1])])
            if not whole:
                return False
        for old in self.folder.iterdir():
            for path in old.glob("*.pt") if int(old.name) < step else ():
                path.unlink()
        return True

    def content(self) -> set[bytes]:
        found = set()
        for path in self.root.rglob("*"):
            if path.is_file() and path.suffix != ".json":
                found.add(sha256(path.read_bytes()).digest())
        return found


def killed_save(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    stop, share = chance.randrange(len(scene.files)), chance.random()
    scene.save(60, (stop, share))
    return f"{scene.files[stop]} at {share:.0%}", False


def late_rank(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    """Rank 0 is done and has deleted the older files; another rank still writes its optimizer."""
    scene.save(60)
    share = chance.random()
    return f"{_cut(scene, scene.files[-3], share)}, older ones deleted", False


def cut_file(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    scene.save(60)
    return _cut(scene, chance.choice(scene.files), chance.random()), False


def empty_file(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    scene.save(60)
    return _cut(scene, chance.choice(scene.files), 0.0), False


def missing_files(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    scene.save(60)
    names = chance.sample(scene.files, chance.randint(1, len(scene.files)))
    for name in names:
        (scene.folder / "0000060" / name).unlink()
    return ", ".join(names), False


def extra_bytes(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    scene.save(60)
    name = chance.choice(scene.files)
    with (scene.folder / "0000060" / name).open("ab") as target:
        target.write(chance.randbytes(chance.randint(1, 5000)))
    return name, False


def extra_names(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    """What a person or a tool leaves there. None of it makes the save itself worse."""
    scene.save(60)
    name = chance.choice([".ipynb_checkpoints", "best", "0000060.bak", "lost+found", "0000060/notes", "0000080"])
    (scene.folder / name).mkdir()
    if chance.random() < 0.5 and name != "0000080":  # a number that holds somebody's file stops the start instead
        (scene.folder / name / "mine.txt").write_text(str(chance.random()))
    return name, True


def sealed_and_lost(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    """A sealed save loses names: its links bring it back."""
    scene.save(60)
    supervisor_guard.after_save(scene.spec, 60, scene.words.append)
    names = chance.sample(scene.files, chance.randint(1, len(scene.files)))
    for name in names:
        (scene.folder / "0000060" / name).unlink()
    return ", ".join(names), True


def sealed_and_cut(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    scene.save(60)
    supervisor_guard.after_save(scene.spec, 60, scene.words.append)
    return _cut(scene, chance.choice(scene.files), chance.random()), False


def whole_save(scene: Scene, chance: random.Random) -> tuple[str, bool]:
    """Killed between the last write and the seal."""
    scene.save(60)
    return "after the last file", True


def _cut(scene: Scene, name: str, share: float) -> str:
    path = scene.folder / "0000060" / name
    text = path.read_bytes()
    path.write_bytes(text[: int(len(text) * share)])
    return f"{name} at {share:.0%}"


KINDS: tuple[Callable[[Scene, random.Random], tuple[str, bool]], ...] = (
    killed_save, cut_file, missing_files, late_rank, killed_save, extra_names, empty_file, sealed_and_lost,
    extra_bytes, sealed_and_cut, whole_save,
)  # fmt: skip


def damaged(number: int, real: Sequence[Path], loader: Loader) -> Point:
    """One save taken apart; with odd numbers the guard is killed at one of its calls first. `real`: saves of a whole
    model, and of adapters."""
    chance = random.Random(number)  # noqa: S311 - repeatable, not secret
    kind = KINDS[number % len(KINDS)]
    lora = number % 3 == 2
    with tempfile.TemporaryDirectory(dir=real[0].parent) as root:
        scene = Scene(Path(root), real[lora], lora)
        where, whole = kind(scene, chance)
        before = scene.content()
        if number % 2:
            call = chance.randrange(25)
            where += f"; the guard killed before its call {call}"
            with killed_before(call), suppress(Killed):
                supervisor_guard.before_start(scene.spec, scene.words.append)
        supervisor_guard.before_start(scene.spec, scene.words.append)
        step, told = loader.step(scene.folder)
        deleted = len(before - scene.content())
    where += "; adapters" * lora
    return Point(kind.__name__.replace("_", " "), where, 60 if whole else 40, step, 60 - step, deleted, told)


def run(points: int, say: Say) -> list[dict[str, Any]]:
    """Rows, one per point; each has `held`."""
    os.environ["MINICANVAS_PYTHON"] = str(torch_python.ensure())
    from tests.chaos import saves_killed  # reads the variable when it is imported

    supervisor_guard.REST = 0.05
    supervisor_guard._digest = lambda *_: None  # a thread, which would be killed with the guard
    killed = max(1, points // 10)
    with tempfile.TemporaryDirectory(prefix="canvas-saves-") as folder:
        root = Path(folder)
        tiny_model.write_model(root / "made/model")
        generate.write_dataset(root / "made/output", rows_train=120, rows_test=12)
        real = [saves_killed.checkpoints(root, STEPS, lora) for lora in (False, True)]
        loader = Loader(saves_killed.code(root))
        rows: list[dict[str, Any]] = []
        try:
            for number in range(points - killed):
                rows.append(_row(damaged(number, real, loader), rows, points, say))
        finally:
            loader.close()
        for folder_of_saves in real:
            shutil.rmtree(folder_of_saves)
        for point in saves_killed.kill(root, killed):
            rows.append(_row(point, rows, points, say))
    return rows


def _row(point: Point, rows: Sequence[object], points: int, say: Say) -> dict[str, Any]:
    if not point.held or len(rows) % 20 == 19 or point.kind == "really killed":
        verdict = "held" if point.held else f"NOT HELD: expected {point.expected}, {point.deleted} deleted {point.told}"
        say(f"{len(rows) + 1:>3}/{points}  {point.kind}: {point.where}: resumes from {point.resumed}: {verdict}")
    return {**asdict(point), "held": point.held}


def summary(rows: Sequence[dict[str, Any]]) -> str:
    held = sum(bool(row["held"]) for row in rows)
    real = sum(row["kind"] == "really killed" for row in rows)
    lost = max((row["lost"] for row in rows), default=0)
    gone = sum(row["deleted"] for row in rows)
    return (
        f"saves broken at {len(rows)} points ({real} trainings really killed): {held} resumed from the newest whole "
        f"checkpoint, at most {lost} steps lost of {EVERY} between two saves, {gone} files deleted"
    )
