"""A model folder made of a LoRA checkpoint: the merged weights under the name that inference reads, the base's other
files, and MERGED.json with what it was made of.

One merge at a time: whoever comes second waits for the first, and shows its progress. All of it is the account's.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..core import wire
from ..core.errors import FleetError
from ..core.progress import Progress, amount
from ..core.version import VERSION
from ..system import files, folders
from ..system.digests import of_file
from ..trainer.adapter import FILE, Adapter
from ..trainer.checkpoint import Checkpoint
from . import examined, merge, merge_check, models, seal, staged
from .models import NEWEST, RECORD, STATE, Made, State
from .seal import Place

WEIGHTS = "ema.safetensors"
LARGE = ".safetensors"  # what a second name is enough for; a copy of a small file may be edited without the base's
LOOK = 1.0  # seconds between two looks at another's merge
SPARE = 64 << 20  # bytes beside the weights


@dataclass(frozen=True)
class MergeSpec:
    """`step`: NEWEST, or a step with whole adapters. `names`: the files of the model folder."""

    place: Place
    results: str
    base: str  # folder
    names: Sequence[str]
    step: int = NEWEST

    @property
    def models(self) -> str:
        return models.models_of(self.results)


def make(spec: MergeSpec, progress: Progress, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """The model folder of a step: {"changed", "step", "path", "bytes", "swallowed"}. Raises FleetError, OSError."""
    _refuse_without_numpy()
    folders.make(spec.models)
    _refuse_among_checkpoints(spec)

    def waits() -> None:
        state = models.state_of(spec.results) or State()
        progress(state.done, state.total, state.unit, state.what or "waits for another merge")
        sleep(LOOK)

    with files.in_turn(f"{spec.models}/.lock", waits):
        return _recorded(spec, progress)


def _refuse_without_numpy() -> None:
    try:
        import_module("numpy")
    except ImportError as error:
        raise FleetError(
            "this Python cannot merge",
            variable="conda_env_prefix",
            found=f"{sys.executable}: {error}",
            expected="numpy, as in the training's environment",
            remedy="run the role conda_env: ansible-playbook site.yml --tags conda_env",
        ) from error


def _refuse_among_checkpoints(spec: MergeSpec) -> None:
    """Any name but a step's among the checkpoints kills the trainer."""
    own, folder = os.path.realpath(spec.models), os.path.realpath(spec.place.checkpoints)
    if os.path.commonpath([own, folder]) in (own, folder):
        raise FleetError(
            "the merged models and the checkpoints share a folder",
            variable="training_checkpoint_dir",
            found=f"{folder} and {own}",
            expected="two folders, none in the other",
        )


def _recorded(spec: MergeSpec, progress: Progress) -> dict[str, Any]:
    """The same, with a record for others to look at."""
    chosen = choose(spec)
    path = f"{spec.models}/{STATE}"
    own = Progress(lambda state: files.save(path, {**state, "step": chosen.step}, durable=False))

    def tell(done: int, total: int = 0, unit: str = "", what: str = "") -> None:
        progress(done, total, unit, what)
        own(done, total, unit, what)

    try:
        made = _make(spec, chosen, tell)
    except (FleetError, OSError) as error:
        files.save(path, wire.to_dict(State(chosen.step, error=str(error)[:1000])))
        raise
    files.remove(path)
    return made


def choose(spec: MergeSpec) -> Checkpoint:
    """The checkpoint to merge: in the trainer's folder, or its links. Its adapters must be whole, the rest need not."""
    seen = examined.look(spec.place)
    usable = [one for one in (*seen.kept, *seen.found.checkpoints) if models.whole_adapters(one)]
    steps = {one.step: one for one in usable}
    wanted = max(steps, default=NEWEST) if spec.step == NEWEST else spec.step
    if wanted not in steps:
        can = ", ".join(map(str, sorted(steps)))
        flaws = next((one.flaws for one in seen.found.checkpoints if one.step == wanted), ("no such step",))
        raise FleetError(
            "there is no checkpoint of adapters to merge" if spec.step == NEWEST else f"step {wanted} cannot be merged",
            variable="training_merge_step",
            found=f"{spec.place.checkpoints}: {'; '.join(flaws[:3])}",
            expected=f"one of {can}"
            if can
            else f"a checkpoint with a whole {FILE}; only training_profile lora makes them",
        )
    return steps[wanted]


def _make(spec: MergeSpec, chosen: Checkpoint, tell: Callable[..., None]) -> dict[str, Any]:
    staged.settle(spec.models)
    target, source = models.folder_of(spec.results, chosen.step), f"{chosen.path}/{FILE}"
    base = f"{spec.base}/{WEIGHTS}"
    _refuse_lacking(spec)
    digest = _digest(spec.place, chosen.step, source, tell)
    with merge.opened(base) as weights, merge.opened(source) as adapters:
        merge.check(weights, adapters)
        there = models.made_in(target)
        if there and (there.adapter, there.base) == (digest, weights.header.digest) and _whole(target, weights.size):
            return {"changed": False, **_answer(target, there)}
        if os.path.lexists(target) and not there:
            found = f"{target} has no {RECORD}"
            raise FleetError("the model's folder is somebody else's", found=found, remedy="move it to another name")
        _refuse_without_space(spec, weights.size)
        new = staged.begin(spec.models, f"{chosen.step:07d}")
        made = _write(new, weights, adapters, chosen, digest, tell)
    for name in spec.names:
        if name != WEIGHTS and files.stays_below(name):
            _take(f"{spec.base}/{name}", f"{new}/{name}")
    files.save(f"{new}/{RECORD}", wire.to_dict(made))
    staged.finish(spec.models, f"{chosen.step:07d}")
    return {"changed": True, **_answer(target, made)}


def _answer(target: str, made: Made) -> dict[str, Any]:
    return {"step": made.step, "path": target, "bytes": made.size, "swallowed": made.swallowed}


def _digest(place: Place, step: int, source: str, tell: Callable[..., None]) -> str:
    """Of the adapters' file. Raises FleetError where the seal has another."""
    total, done = os.path.getsize(source), 0

    def each(block: bytes) -> None:
        nonlocal done
        done += len(block)
        tell(done, total, "B", f"reads {FILE}")

    found = of_file(source, each=each)
    sealed = (seal.read_manifest(place, step) or {"files": {}})["files"].get(FILE, {}).get("sha256")
    if sealed and sealed != found:
        raise FleetError(f"{FILE} is not what was sealed", found=f"{source}: {found}", expected=sealed)
    return found


def _whole(target: str, size: int) -> bool:
    try:
        return os.stat(f"{target}/{WEIGHTS}").st_size == size
    except OSError:
        return False


def _refuse_without_space(spec: MergeSpec, size: int) -> None:
    need, free = size + SPARE, folders.free(spec.models)
    if free < need:
        raise FleetError(
            "the disk is too small for the merged model",
            variable="training_results_dir",
            found=f"{amount(free, 'B')} free at {spec.models}",
            expected=amount(need, "B"),
            remedy="free space, such as merged models of other steps in this folder, then merge again",
        )


def _write(
    new: str, base: merge.Weights, adapters: merge.Weights, chosen: Checkpoint, digest: str, tell: Callable[..., None]
) -> Made:
    part = f"{new}/{WEIGHTS}.part"
    with files.open_part(part) as out:
        done = merge.merge(base, adapters, out, lambda so_far, total: tell(so_far, total, "B", f"merges {WEIGHTS}"))
    with merge.opened(part) as merged:
        samples = merge_check.check(base, adapters, merged)
    files.put(part, f"{new}/{WEIGHTS}", 0o644)
    adapter: Adapter = merge.adapter_in(adapters)
    return Made(
        step=chosen.step,
        rank=adapter.rank,
        alpha=adapter.alpha,
        targets=adapter.targets,
        base=adapter.base,
        adapter=digest,
        layers=done.layers,
        connectors=done.replaced,
        swallowed=round(done.swallowed / max(1, done.cells), 6),
        samples=samples,
        size=base.size,
        version=VERSION,
    )


def _refuse_lacking(spec: MergeSpec) -> None:
    lacking = [name for name in spec.names if not os.path.isfile(f"{spec.base}/{name}")]
    if lacking:
        raise FleetError(
            "the base lacks files",
            variable="weights_dir",
            found=f"no {', '.join(lacking[:5])} in {spec.base}",
            remedy="run the role weights: ansible-playbook site.yml --tags weights",
        )


def _take(source: str, target: str) -> None:
    """A file of the base: a second name of a large one where the disk allows, else a copy."""
    folders.make(os.path.dirname(target))
    if source.endswith(LARGE):
        with suppress(OSError):
            files.link(os.path.realpath(source), target)
            return
    files.copy(source, f"{target}.part")
    files.put(f"{target}.part", target, 0o644)
