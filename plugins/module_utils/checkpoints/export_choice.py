"""Which weights become a model folder for use, and whether they are of the base's model. Writes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import FleetError
from ..core.progress import amount
from ..system import files, folders
from ..trainer import safetensors
from ..trainer.average import better_file
from ..trainer.checkpoint import Checkpoint
from ..trainer.safetensors import Header
from ..trainer.same_model import unlike
from . import examined, exports, guard, models, seal
from .exports import WEIGHTS
from .models import NEWEST
from .seal import Place

SPARE = 64 << 20  # bytes beside the weights
FRESH = 300.0  # seconds since the last write to a save, for which the trainer may still be at it
MERGE = "playbooks/merge.yml -e training_merge_step={}"


@dataclass(frozen=True)
class ExportSpec:
    """`step`: NEWEST, or a step. `kind`: auto, ema, model or merged. `decay`: of the average (run_config_ema).
    `names`: the base's files."""

    place: Place
    results: str
    base: str  # folder
    names: Sequence[str]
    step: int = NEWEST
    kind: str = "auto"
    decay: float = 0.0

    @property
    def folder(self) -> str:
        return exports.exports_of(self.results)


@dataclass(frozen=True)
class Choice:
    """`source`: the file of the weights. `sha256`: as its seal has it, "" without one. `base`: digest of the header of
    the base's weights."""

    step: int
    kind: str
    source: str
    size: int
    sha256: str = ""
    base: str = ""

    @property
    def name(self) -> str:
        return exports.name_of(self.step, self.kind)


def choose(spec: ExportSpec) -> Choice:
    """Raises FleetError for what cannot be exported, before anything is written."""
    guard.refuse_owned(spec.place, {"training_results_dir": spec.folder})
    lacking = [name for name in {WEIGHTS, *spec.names} if not os.path.isfile(f"{spec.base}/{name}")]
    if lacking:
        raise FleetError(
            "the base lacks files",
            variable="weights_dir",
            found=f"no {', '.join(sorted(lacking)[:5])} in {spec.base}",
            remedy="run the role weights: ansible-playbook site.yml --tags weights",
        )
    step, kind, source, digest = _weights(spec)
    header = _same_model(source, f"{spec.base}/{WEIGHTS}")
    choice = Choice(step, kind, source, os.stat(source).st_size, digest, header.digest)
    target = f"{spec.folder}/{choice.name}"
    if os.path.lexists(target) and not exports.exported_in(target):
        found = f"{target} has no {exports.RECORD}"
        raise FleetError("the export's folder is somebody else's", found=found, remedy="move it to another name")
    _refuse_without_space(spec, choice)
    return choice


def _weights(spec: ExportSpec) -> tuple[int, str, str, str]:
    """Step, kind, file, and its sealed digest."""
    seen, merged = examined.look(spec.place), models.made_steps(spec.results)
    alone = [one for one in seen.found.checkpoints if one.kind == "model"]
    usable = {**{one.step: one for one in alone}, **seen.restorable, **seen.whole}
    steps = sorted({*usable, *merged} if spec.kind == "auto" else merged if spec.kind == "merged" else usable)
    step = max(steps, default=NEWEST) if spec.step == NEWEST else spec.step
    one = usable.get(step)
    if spec.kind in ("auto", "merged") and step in merged and (one is None or one.form == "lora"):
        return step, "merged", f"{models.folder_of(spec.results, step)}/{WEIGHTS}", ""
    if one is None or spec.kind == "merged":
        raise _refused(spec, seen, step, steps)
    if one.form == "lora":
        raise _unmerged(spec, step, merged)
    kind = better_file(spec.decay, step) if spec.kind == "auto" else spec.kind
    return step, kind, f"{one.path}/{kind}.safetensors", _sealed(spec.place, one, f"{kind}.safetensors")


def _sealed(place: Place, one: Checkpoint, name: str) -> str:
    entry = (seal.read_manifest(place, one.step) or {"files": {}})["files"].get(name)
    if entry and seal.mark_of(f"{one.path}/{name}")["mark"] != entry["mark"]:
        raise FleetError(
            f"step {one.step} cannot be exported",
            variable="export_step",
            found=f"{one.path}/{name} is not what was sealed",
            expected="the sealed content",
            remedy="export another step (-e export_step=…)",
        )
    return str((entry or {}).get("sha256") or "")


def _refused(spec: ExportSpec, seen: examined.Seen, step: int, steps: Sequence[int]) -> FleetError:
    there = next((one for one in seen.found.checkpoints if one.step == step), None)
    can = f"one of {', '.join(map(str, steps))}" if steps else "none yet"
    what = "there is nothing to export" if step == NEWEST else f"step {step} cannot be exported"
    if there and there.form == "lora" and spec.kind == "merged":
        return _unmerged(spec, step, steps)
    if there is None or spec.kind == "merged":
        lacks = "no merged model" if spec.kind == "merged" else "no such step" if step != NEWEST else "no checkpoint"
        place = models.models_of(spec.results) if spec.kind == "merged" else spec.place.checkpoints
        return FleetError(what, variable="export_step", found=f"{place}: {lacks}", expected=can)
    writing = time.time() - _last_write(there.path) < FRESH
    return FleetError(
        f"step {step} is being saved" if writing else what,
        variable="export_step",
        found=f"{there.path}: {'; '.join(there.flaws[:3])}",
        expected=f"a whole checkpoint ({can})",
        remedy="wait for the end of the save, then export again" if writing else "export another step",
    )


def _last_write(folder: str) -> float:
    try:
        return max(os.lstat(f"{folder}/{name}").st_mtime for name in ("", *folders.names(folder)))
    except OSError:
        return 0.0


def _unmerged(spec: ExportSpec, step: int, merged: Sequence[int]) -> FleetError:
    there = ", ".join(map(str, merged)) or "none"
    asked = spec.kind in ("ema", "model")
    return FleetError(
        f"step {step} holds adapters, which are no model",
        variable="export_weights" if asked else "export_step",
        found=f"{spec.place.folder(step)}: adapters; merged models of steps: {there}",
        expected="export_weights: merged, or auto" if asked else "adapters that were merged into a whole model",
        remedy=f"merge them first: {MERGE.format(step)}",
    )


def _same_model(source: str, base: str) -> Header:
    """The base's header, if the weights have its keys, shapes and types. Reads the two headers alone."""
    own, wanted = safetensors.from_file(source), safetensors.from_file(base)
    if os.stat(source).st_size != own.size:
        found = f"{source}: {os.stat(source).st_size} bytes"
        raise FleetError("a file of weights is not whole", found=found, expected=f"{own.size} bytes")
    differs = unlike(own, wanted)
    lacking = [f"{name} is missing" for name in differs.lacking]
    more = [f"{name} is not in the base" for name in differs.more]
    other = [f"{name} is {_kind(own, name)} instead of {_kind(wanted, name)}" for name in differs.other]
    flaws = [*lacking, *more, *other]
    if flaws:
        raise FleetError(
            "the weights are of another model than the base",
            variable="weights_dir",
            found=f"{source}: {'; '.join(one[:200] for one in flaws[:3])}; {len(flaws)} in all",
            expected=f"the keys, shapes and types of {base}",
            remedy="set weights_dir to the model folder that the run was trained with",
        )
    return wanted


def _kind(header: Header, name: str) -> str:
    return f"{header.tensors[name].dtype} {list(header.tensors[name].shape)}"


def _refuse_without_space(spec: ExportSpec, choice: Choice) -> None:
    """Where the weights lie on another disk they have to be copied."""
    if exports.exported_in(f"{spec.folder}/{choice.name}"):
        return
    same = os.stat(_there(spec.folder)).st_dev == os.stat(choice.source).st_dev
    need_space(spec, SPARE if same else choice.size + SPARE)


def _there(place: str) -> str:
    """The folder, or the nearest one above it that exists."""
    while not os.path.exists(place):
        place = os.path.dirname(place)
    return place


def need_space(spec: ExportSpec, need: int) -> None:
    """Raises FleetError for a disk with less than `need` bytes."""
    free = folders.free(_there(spec.folder))
    if free < need:
        raise FleetError(
            "the disk is too small for the export",
            variable="training_results_dir",
            found=f"{amount(free, 'B')} free at {spec.folder}",
            expected=amount(need, "B"),
            remedy=f"free space, such as exports of other steps in this folder ({_others(spec)}), then export again",
        )


def _others(spec: ExportSpec) -> str:
    return ", ".join(exports.exported(spec.results)[:5]) or "none yet"


def same_content(one: str, other: str) -> bool:
    """Are both ends and the size of two files the same? Reads 128 KiB of each."""
    try:
        marks = [{**seal.mark_of(path), "mtime": 0} for path in (one, other)]
    except OSError:
        return False
    return marks[0] == marks[1]


def plain_size(path: str) -> int:
    """Bytes of a plain file; -1 for what is none."""
    try:
        source, size = files.open_plain(path, follow=False)
    except OSError:
        return -1
    source.close()
    return size
