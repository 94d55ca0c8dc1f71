"""How many merged models and exports a run has, and what they alone hold of the disk. Reads alone."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..core.progress import amount
from ..system import folders
from .exports import exported, exports_of
from .models import folder_of, made_steps

FEW = 2  # a merged model and its export
MOST = 10_000  # names that are looked at; a model folder has a dozen


@dataclass(frozen=True)
class Stock:
    """`bytes`: of files that have no name elsewhere, such as the one of the checkpoint that an export shares."""

    models: int = 0
    exports: int = 0
    bytes: int = 0

    @property
    def much(self) -> bool:
        return self.models + self.exports > FEW

    def words(self) -> str:
        kinds = (("merged model", self.models), ("export", self.exports))
        counted = [f"{number} {noun}{'s' * (number > 1)}" for noun, number in kinds if number]
        return f"{' and '.join(counted)}, {amount(self.bytes, 'B')} that only they hold"


def stock(results: str) -> Stock:
    merged = [folder_of(results, step) for step in made_steps(results)]
    exports = [f"{exports_of(results)}/{name}" for name in exported(results)]
    sizes: dict[tuple[int, int], int] = {}
    names: dict[tuple[int, int], int] = {}
    left = MOST
    for place, _below, files in (step for top in (*merged, *exports) for step in folders.walk(top)):
        for name in files[:left]:
            try:
                found = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            key = (found.st_dev, found.st_ino)
            names[key] = names.get(key, found.st_nlink) - 1
            sizes[key] = found.st_size
        left -= len(files)
        if left <= 0:
            break
    alone = sum(size for key, size in sizes.items() if names[key] <= 0)
    return Stock(len(merged), len(exports), alone)
