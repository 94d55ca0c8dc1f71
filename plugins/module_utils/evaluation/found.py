"""What there is to evaluate on a host: the test file, the base, checkpoints and merged models. Reads headers alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..checkpoints import examined, models
from ..checkpoints.seal import Place
from ..core.errors import FleetError
from ..system import folders
from ..trainer import adapter, safetensors
from ..trainer.checkpoint import MODEL_FILES, Checkpoint
from ..trainer.safetensors import Header
from ..trainer.same_model import unlike
from .folder import about_in, places, questions_about
from .memory import Need, memory
from .spec import Spec

VAE = "ae.safetensors"
MERGED_FILE = "ema.safetensors"  # the name that inference reads


@dataclass(frozen=True)
class Save:
    """A checkpoint or a merged model. `files`: whole weights in it, by name. `other`: why it is another model's."""

    step: int
    path: str
    form: Literal["full", "lora", "merged"]
    files: tuple[str, ...] = ()
    flaws: tuple[str, ...] = ()
    other: str = ""


@dataclass(frozen=True)
class Found:
    """`test_bytes`: None where there is no such file. `base_flaw`: why the base cannot be read. `need`: bytes of a GPU.

    `free`: bytes of the disk. `rows`, `lettered`: of the test file, as an earlier evaluation read it. `ended`: subjects
    that are evaluated already, in the mode that is asked for.
    """

    test_bytes: int | None = None
    base_flaw: str = ""
    need: Need | None = None
    saves: tuple[Save, ...] = ()
    free: int = 0
    rows: int | None = None
    lettered: int | None = None
    ended: tuple[str, ...] = ()


def look(spec: Spec) -> Found:
    """Never raises for what is absent or broken."""
    base, flaw = _header(f"{spec.base}/{spec.base_file}")
    about = questions_about(spec.folder)
    return Found(
        test_bytes=_size(spec.parquet) if spec.parquet else None,
        base_flaw=flaw,
        need=memory(spec.mode, base, _size(f"{spec.base}/{VAE}") or 0) if base else None,
        saves=tuple(saves(spec, base)),
        free=_free(spec.folder),
        rows=about.rows if about else None,
        lettered=about.lettered if about else None,
        ended=tuple(_ended(spec)),
    )


def _ended(spec: Spec) -> Iterator[str]:
    try:
        there = [place for place in places(spec.folder) if place.mode == spec.mode]
    except OSError:
        return
    for place in there:
        about = about_in(place)
        if about and about.ended:
            yield place.subject


def saves(spec: Spec, base: Header | None) -> Iterator[Save]:
    """By rising step; a merged model after its checkpoint."""
    seen = examined.look(Place(spec.checkpoints, spec.kept))
    steps = {one.step: one for one in (*seen.kept, *seen.found.checkpoints)}
    made = models.made_steps(spec.results)
    for step in sorted({*steps, *made}):
        if step in steps:
            yield _checkpoint(steps[step], base)
        if step in made:
            yield _merged(step, models.folder_of(spec.results, step), base)


def _checkpoint(one: Checkpoint, base: Header | None) -> Save:
    names = (adapter.FILE,) if one.form == "lora" else MODEL_FILES
    whole, other = [], ""
    for name in names:
        if any(flaw.startswith(name) for flaw in one.flaws):
            continue
        header, flaw = _header(f"{one.path}/{name}")
        if header is None or flaw:
            continue
        whole.append(name)
        other = other or (another(name, header, base) if base else "")
    return Save(one.step, one.path, one.form, tuple(whole), one.flaws[:3], other)


def _merged(step: int, path: str, base: Header | None) -> Save:
    header, flaw = _header(f"{path}/{MERGED_FILE}")
    other = another(MERGED_FILE, header, base) if header and base else ""
    return Save(step, path, "merged", () if flaw else (MERGED_FILE,), (flaw,) if flaw else (), other)


def another(name: str, header: Header, base: Header) -> str:
    """Why weights are not of this base's model; "" when they are. A part of the model is enough, in any type."""
    if name == adapter.FILE:
        trained_on = header.metadata.get("base_header_sha256", "")
        return "" if trained_on == base.digest else f"{name} was trained on a base whose header is {trained_on[:16]}…"
    found = unlike(header, base)
    if found.more:
        return f"{name} has {len(found.more)} weights that the base lacks, such as {min(found.more)[:100]}"
    if found.reshaped:
        first = found.reshaped[0]
        theirs, ours = (_edges(one.tensors[first].shape) for one in (header, base))
        return f"{name}: {first[:100]} is {theirs}, in the base {ours}"
    return ""


def _edges(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a number"


def _header(path: str) -> tuple[Header | None, str]:
    """The header of a whole file; or None and the flaw."""
    try:
        header, size = safetensors.from_file(path), os.stat(path).st_size
    except FileNotFoundError:
        return None, f"{path} is not there"
    except (OSError, FleetError) as error:
        return None, f"{path}: {error}"[:500]
    return (header, "") if header.size == size else (None, f"{path} has {size} bytes instead of {header.size}")


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size if os.path.isfile(path) else None
    except OSError:
        return None


def _free(path: str) -> int:
    while path not in ("", "/") and not os.path.isdir(path):
        path = os.path.dirname(path)
    try:
        return folders.free(path or "/")
    except OSError:
        return 0
