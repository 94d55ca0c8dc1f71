"""A run whose checkpoints are of the base's model, ready to be exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import export_folder, guard, model_folder
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.export_choice import ExportSpec
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.model_folder import MergeSpec
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress

from tests.unit.support import models, saves

NAMES = (*models.SMALL_FILES, "ae.safetensors", "ema.safetensors")
CARD = "# The model of a run\n"


def trained(path: Path, base: Path, seed: int) -> Path:
    """Weights of the base's model with other numbers."""
    chance = numpy.random.default_rng(seed)
    tensors = {
        name: models.rounded(chance.standard_normal(one.shape, numpy.float32))
        for name, one in models.read(base).items()
    }
    path.unlink(missing_ok=True)
    return models.write(path, tensors, "BF16", {})


class Run:
    """Whole checkpoints of the steps 20 and 40."""

    def __init__(self, root: Path, *steps: int) -> None:
        self.root, self.out, self.base = root, root / "out", models.base(root / "model")
        self.place = saves.place(self.out)
        self.spec = ExportSpec(self.place, str(self.out), str(root / "model"), NAMES, decay=0.9)
        for step in steps or (20, 40):
            self.save(step)

    def save(self, step: int, seed: int = 0) -> Path:
        folder = Path(self.place.folder(step))
        saves.save(folder.parent, step, delete=False)
        for number, name in enumerate(saves.MODEL):
            trained(folder / name, self.base, 10 * step + number + 1000 * seed)
        return folder

    def adapters(self, step: int, merge: bool = False) -> None:
        folder = Path(self.place.folder(step))
        saves.save(folder.parent, step, files=saves.LORA, delete=False)
        models.adapters(folder / saves.LORA[0], self.base, seed=step)
        if merge:
            spec = MergeSpec(self.place, str(self.out), str(self.root / "model"), NAMES, step)
            model_folder.make(spec, Progress(), lambda _seconds: None)

    def seal(self, step: int) -> None:
        guard.keep(self.place, step, self.place.folder(step), lambda _text: None)

    def make(self, card: str = CARD, progress: Progress | None = None, **change: Any) -> dict[str, Any]:
        return export_folder.make(replace(self.spec, **change), card, progress or Progress(), lambda _seconds: None)

    def made(self, name: str) -> Path:
        return self.out / "exports" / name


def weights(folder: Path) -> bytes:
    return (folder / "ema.safetensors").read_bytes()


Spoil = Callable[[Run], object]
