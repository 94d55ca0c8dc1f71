"""Root's note of what it did to the code's folder. It lies in fleet_state_dir, in a folder of root.

Version 0.1 wrote it into the folder of the code, where the account can write. It is read there until it is moved.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from ...core.settings import Settings
from ...system import files, folders
from ...system.digests import sha256

Kind = Literal["git", "copy"]
FORMER: Mapping[Kind, str] = {"git": ".git/canvas-fleet.json", "copy": ".canvas-fleet.json"}


def path(settings: Settings, kind: Kind) -> str:
    """Several folders on one host each have their own."""
    name = sha256(os.path.normpath(settings["canvas_code_checkout"]))[:12]
    return os.path.join(settings["fleet_state_dir"], "canvas_code", f"{name}-{kind}.json")


def former(settings: Settings, kind: Kind) -> str:
    return os.path.join(settings["canvas_code_checkout"], FORMER[kind])


def load(settings: Settings, kind: Kind) -> dict[str, Any]:
    """{} where there is none."""
    return files.load(path(settings, kind)) or files.load(former(settings, kind), follow=False)


def save(settings: Settings, kind: Kind, note: Mapping[str, Any]) -> None:
    place = path(settings, kind)
    folders.make(os.path.dirname(place))
    files.save(place, note)
    files.remove(former(settings, kind))


def misplaced(settings: Settings) -> list[Kind]:
    """Notes that lie where the account can write, and nowhere else."""
    return [kind for kind in FORMER if not os.path.exists(path(settings, kind)) and load(settings, kind)]


def move(settings: Settings) -> None:
    for kind in misplaced(settings):
        save(settings, kind, load(settings, kind))
