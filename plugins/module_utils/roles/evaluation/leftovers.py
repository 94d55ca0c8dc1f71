"""Leftovers: the results of evaluations. Changes nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ...core.leftover import Leftover
from ...core.settings import Settings
from ...evaluation.folder import SUBJECT
from ...evaluation.state import STATE
from ...system import folders as places

RECORDS: tuple[str, ...] = ()
OURS = re.compile(rf"rows|{SUBJECT.pattern}|\.lock|\.run|{re.escape(STATE)}|\..*\.canvas-fleet")


def leftovers(settings: Settings) -> Iterator[Leftover]:
    folder = str(settings["evaluation_dir"])
    try:
        found = [name for name in places.names(folder) if OURS.fullmatch(name)]
    except OSError:
        return
    for name in sorted(found):
        yield Leftover("evaluation", os.path.join(folder, name), "the results of evaluations", "checkpoints")


def folders(settings: Settings) -> tuple[str, ...]:
    return (str(settings["evaluation_dir"]),)
