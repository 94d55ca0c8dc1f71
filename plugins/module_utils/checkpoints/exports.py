"""Model folders for use, as they lie on the disk. Reads alone; export_folder.py makes them.

<training_results_dir>/exports/0001530-ema/   a model folder; it gets its name when it is whole
    the base's files, ema.safetensors (the chosen weights, whatever their own name is), README.md (the model card),
    EXPORTED.json (of what it was made), SHA256SUMS (of all the others)
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..core import wire
from ..system import files, folders
from .models import NEWEST, SMALL
from .staged import NEW, OLD

RECORD, CARD, SUMS = "EXPORTED.json", "README.md", "SHA256SUMS"
WEIGHTS = "ema.safetensors"  # the name that inference reads (Bagel app.py; upstream's reasoner takes a name)
KINDS = ("merged", "ema", "model")
NAME = re.compile(rf"([0-9]{{7,}})-({'|'.join(KINDS)})")
SUM = re.compile(r"([0-9a-f]{64})  (.+)")


@dataclass(frozen=True)
class Exported:
    """EXPORTED.json. `kind`: which weights of the step; `sha256` and `size`: of them; `base`: digest of the header of
    the base's weights; `card`: of the text that was written; `files`: digests of all other files by their names."""

    step: int
    kind: str
    sha256: str
    size: int
    base: str
    card: str
    files: Mapping[str, str] = field(default_factory=dict)
    shared: bool = True  # no second copy of the weights
    version: str = ""


def exports_of(results: str) -> str:
    return f"{os.path.normpath(results)}/exports"


def name_of(step: int, kind: str) -> str:
    return f"{step:07d}-{kind}"


def names_in(weights_files: Sequence[str]) -> tuple[str, ...]:
    """Files of an export, by those of its base, without SHA256SUMS. The record comes last: a fetched folder that has
    it is whole."""
    taken = (name for name in weights_files if files.stays_below(name) and name not in (CARD, RECORD, SUMS))
    return (*dict.fromkeys((WEIGHTS, *taken)), CARD, RECORD)


def exported_in(folder: str) -> Exported | None:
    """What a folder says that it is; None for one that no export finished."""
    return wire.from_record(Exported, files.load(f"{folder}/{RECORD}", SMALL, follow=False))


def exported(results: str) -> tuple[str, ...]:
    """Names of the finished folders, by rising step."""
    place = exports_of(results)
    try:
        names = folders.names(place)
    except OSError:
        return ()
    return tuple(name for name in names if NAME.fullmatch(name) and exported_in(f"{place}/{name}"))


def chosen(results: str, step: int, kind: str) -> str:
    """The name of the export of this step (NEWEST: of the newest one) and kind (auto: any); "" without such."""
    found = [match for name in exported(results) if (match := NAME.fullmatch(name))]
    fitting = [one for one in found if kind in ("auto", one[2]) and step in (NEWEST, int(one[1]))]
    best = max(fitting, key=lambda one: (int(one[1]), -KINDS.index(one[2])), default=None)
    return best[0] if best else ""


def sums_in(folder: str) -> dict[str, str]:
    """Digests by name, as SHA256SUMS has them; {} where it is none."""
    lines = files.text(f"{folder}/{SUMS}", SMALL, follow=False).splitlines()
    return {found[2]: found[1] for line in lines if (found := SUM.fullmatch(line))}


def sums_text(digests: Mapping[str, str]) -> str:
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def leftovers(results: str) -> list[str]:
    """What exports have made. A person's own folder beside them is none of it."""
    place = exports_of(results)
    try:
        names = folders.names(place)
    except OSError:
        return []
    own = [name for name in names if name.startswith((NEW, OLD)) or name == ".lock"]
    return [f"{place}/{name}" for name in (*own, *exported(results))]
