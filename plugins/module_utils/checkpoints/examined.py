"""A training's checkpoints and their kept links, examined. Changes nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from ..trainer import checkpoint as checkpoints
from ..trainer.checkpoint import Checkpoint, Survey
from . import seal
from .seal import Place

BACK = re.compile(r"\.back-(\d{7,})")


@dataclass(frozen=True)
class Seen:
    """Both folders, examined. `back`: steps whose restore was interrupted."""

    found: Survey
    kept: tuple[Checkpoint, ...] = ()
    back: tuple[int, ...] = ()

    @property
    def whole(self) -> dict[int, Checkpoint]:
        return {one.step: one for one in self.found.checkpoints if one.whole}

    @property
    def restorable(self) -> dict[int, Checkpoint]:
        """Kept checkpoints with whole links, by step."""
        return {one.step: one for one in self.kept if one.whole}


def look(place: Place) -> Seen:
    """Read both folders. An absent one counts as empty."""
    found = checkpoints.survey(place.checkpoints)
    judged = tuple(
        seal.judge(one.path, one.step, seal.read_manifest(place, one.step)) if one.whole else one
        for one in found.checkpoints
    )
    kept = tuple(
        seal.judge(place.links(step), step, seal.read_manifest(place, step)) for step in seal.kept_steps(place)
    )
    names = os.listdir(place.kept) if os.path.isdir(place.kept) else []
    back = tuple(sorted(int(match[1]) for name in names if (match := BACK.fullmatch(name))))
    return Seen(replace(found, checkpoints=judged), kept, back)
