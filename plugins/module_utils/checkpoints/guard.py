"""Before a start: make the newest whole checkpoint the newest of all. Nothing is deleted.

The trainer resumes from the highest number, whole or not, and dies of any other name (MathCanvas cc48f16,
train/train_utils.py get_latest_ckpt). So the guard moves everything above the newest whole one into quarantine. It
restores a damaged one, or one whose .pt files the trainer deleted, from the hard links of its seal.

`examined` reads, decide() is pure, apply() renames and links. The process may die at any system call: the next
prepare() comes to the same result.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..core.errors import FleetError
from ..system import files, folders, places
from ..trainer import checkpoint as checkpoints
from ..trainer.checkpoint import Checkpoint, Form
from . import seal
from .errors import ChangedError
from .examined import Seen, look
from .seal import Place, Say

WRITERS: Mapping[Form, str] = {"full": "full or frozen", "lora": "lora"}  # profiles, by the form of their checkpoints


@dataclass(frozen=True)
class Move:
    """One change: `quarantine` moves `path` into quarantine, `put back` restores the folder of `step` from its
    links."""

    do: str
    path: str
    step: int = -1
    why: str = ""


@dataclass(frozen=True)
class Decision:
    """`target`: the checkpoint of the next start; None for a start at step 0."""

    target: Checkpoint | None
    moves: tuple[Move, ...] = ()


def decide(seen: Seen, place: Place, save_every: int = 0) -> Decision:
    """The checkpoint from which a start can resume, and the moves for it.

    A folder that a person removed stays removed, although its links exist. Raises FleetError when no checkpoint is
    whole after more than one save: a start at step 0 would lose them.
    """
    refuse_others(seen, place)
    present = {one.step for one in seen.found.checkpoints} | set(seen.back)
    links = {step: one for step, one in seen.restorable.items() if step in present}
    whole = seen.whole
    step = max({**links, **whole}, default=None)
    if step is None:
        _refuse_to_lose(seen.found.checkpoints, save_every)
    return towards(seen, place, whole.get(step) or links.get(step) if step is not None else None)


def _refuse_to_lose(found: Sequence[Checkpoint], save_every: int) -> None:
    beyond = [one for one in found if save_every and one.step > save_every]
    if beyond:
        newest = beyond[-1]
        raise FleetError(
            "no checkpoint is whole; a start at step 0 would lose more than one save",
            variable="run_config_resume_from",
            found=f"{newest.path}: {'; '.join(newest.flaws[:3])}",
            expected=f"a whole checkpoint in the folder, or nothing beyond step {save_every}",
            remedy="copy a whole checkpoint into the folder; or empty the folder to begin at step 0 with the model "
            "files of run_config_resume_from",
        )


def towards(seen: Seen, place: Place, target: Checkpoint | None) -> Decision:
    """The moves after which the trainer resumes from `target`, or finds nothing for None."""
    moves, goal = [], target
    if target is not None and target.step not in seen.whole:
        moves.append(Move("put back", place.folder(target.step), target.step, "from its kept links"))
        goal = replace(target, path=place.folder(target.step))
    for name in seen.found.foreign:
        moves.append(Move("quarantine", f"{place.checkpoints}/{name}", -1, "the trainer needs numbers as names"))
    floor = goal.step if goal else -1
    for one in reversed(seen.found.checkpoints):
        if one.step > floor or (goal and one.step == floor and one.path != goal.path):
            moves.append(Move("quarantine", one.path, one.step, "; ".join(one.flaws[:2]) or f"newer than step {floor}"))
    return Decision(goal, tuple(moves))


def refuse_others(seen: Seen, place: Place) -> None:
    """A start and a restore move what is no checkpoint out of their folder: never what is somebody else's."""
    found = seen.found.others
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise FleetError(
            "the folder of the checkpoints holds folders without any file of a save",
            code="CHECKPOINT_FOLDER_SHARED",
            variable="training_checkpoint_dir",
            found=f"{place.checkpoints} holds {', '.join(found[:5])}{more}",
            expected="checkpoints alone",
            remedy="set training_checkpoint_dir to a folder of its own, or move these folders elsewhere",
        )


def refuse_owned(place: Place, owned: Mapping[str, str]) -> None:
    """The plan refuses this too, but a link may have been laid since. `owned`: other variables, and their paths."""
    mounts = places.mounts()
    folder = places.spot(place.checkpoints, mounts)
    for name, path in owned.items():
        other = places.spot(path, mounts)
        if other.lies_in(folder) or folder.lies_in(other):
            raise FleetError(
                "the checkpoints share a folder with something else",
                variable="training_checkpoint_dir",
                found=f"{folder.path} is, holds or lies in {name} ({other.path})",
                expected="a folder for checkpoints alone",
            )


def back_to(seen: Seen, place: Place, step: int) -> Decision:
    """Make an older checkpoint the newest. Links of newer ones are moved first, or they would restore their folders.

    Raises FleetError when that step is not whole; the error lists whole ones.
    """
    refuse_others(seen, place)
    target = seen.whole.get(step) or seen.restorable.get(step)
    if target is None:
        can = sorted({**seen.whole, **seen.restorable})
        raise FleetError(
            f"step {step} cannot be restored",
            variable="training_restore_step",
            found="; ".join(next((one.flaws for one in seen.found.checkpoints if one.step == step), ("no such step",))),
            expected=f"one of {', '.join(map(str, can))}" if can else "a whole checkpoint; there is none",
        )
    kept = [Move("quarantine", place.links(one.step), one.step, "its links") for one in seen.kept if one.step > step]
    half = [Move("quarantine", place.part("back", one), one, "half put back") for one in seen.back if one > step]
    decision = towards(seen, place, target)
    return Decision(decision.target, (*kept, *half, *decision.moves))


def apply(place: Place, decision: Decision, say: Say) -> None:
    """Make the moves, in order. Raises FleetError across file systems, OSError for disk errors."""
    for move in decision.moves:
        if move.do == "put back":
            put_back(place, move.step)
            say(f"checkpoint {move.step} was put back {move.why}")
        elif os.path.lexists(move.path):
            where = _quarantine(place, move)
            if where:
                say(f"moved {move.path} to {where}: {move.why}")


def _quarantine(place: Place, move: Move) -> str:
    """The new path; "" for an empty folder, which is removed."""
    if move.step >= 0 and move.path == place.links(move.step):
        if os.path.lexists(place.manifest(move.step)):
            seal.out_of_the_way(place, place.manifest(move.step))
        return seal.out_of_the_way(place, move.path, f"{move.step:07d}-links")
    if move.step >= 0 and not os.listdir(move.path):
        folders.remove_empty(move.path)
        return ""
    return seal.out_of_the_way(place, move.path)


def put_back(place: Place, step: int) -> None:
    """Restore the folder of a step from its links. A damaged folder is moved first; one without .pt files gets them."""
    links, folder, back = place.links(step), place.folder(step), place.part("back", step)
    names = seal.names_of(links)
    if os.path.isdir(folder) and _only_lacks(folder, links):
        _link_missing(links, folder, names)
        files.sync_folder(folder)
        return
    folders.make(back)
    _link_missing(links, back, names)
    files.sync_folder(back)
    if os.path.lexists(folder):
        seal.out_of_the_way(place, folder)
    folders.make(place.checkpoints)
    files.move(back, folder)
    files.sync_folder(place.checkpoints)


def _only_lacks(folder: str, links: str) -> bool:
    """True when all present files of the trainer are the linked ones."""
    return all(seal.same_file(f"{folder}/{n}", f"{links}/{n}") for n in seal.names_of(folder))


def _link_missing(source: str, target: str, names: Sequence[str]) -> None:
    for name in names:
        if not os.path.lexists(f"{target}/{name}"):
            files.link(f"{source}/{name}", f"{target}/{name}")


def prepare(place: Place, shards: int, save_every: int, say: Say, profile: str = "") -> Checkpoint | None:
    """Prepare a start. Returns the checkpoint to resume from, or None for step 0.

    Raises FleetError, and moves nothing, when a start is impossible or would lose work.
    """
    decision = decide(look(place), place, save_every)
    refuse_what_cannot_load(decision.target, shards, profile)
    return settle(place, decision, say)


def refuse_what_cannot_load(target: Checkpoint | None, shards: int, profile: str = "") -> None:
    """Raises FleetError for a checkpoint of another form than the profile's ("": any), or of other shards (0: any)."""
    form = checkpoints.form_of(profile)
    if target is not None and form and target.form != form:
        raise FleetError(
            "the newest whole checkpoint is of another training_profile",
            code="CHECKPOINT_OTHER_PROFILE",
            variable="training_profile",
            found=f"{target.path}: the files of {WRITERS[target.form]}",
            expected=f"the files of {profile}",
            remedy="set training_profile back, or start a new training_run",
        )
    if target is not None and shards and target.shards != checkpoints.shards_of(target.form, shards):
        raise FleetError(
            "the newest whole checkpoint was saved with another number of shards",
            code="CHECKPOINT_SHARDS_DIFFER",
            variable="run_config_processes",
            found=f"{target.path}: {target.shards} shards",
            expected=f"{shards} shards",
            remedy="use the number of processes per node that saved the checkpoint",
        )


def settle(place: Place, decision: Decision, say: Say) -> Checkpoint | None:
    """Apply the decision, examine again, and seal the target. Raises FleetError when the result differs."""
    apply(place, decision, say)
    now, target = checkpoints.survey(place.checkpoints), decision.target
    newest = now.newest
    if now.foreign or (newest and newest.step) != (target and target.step) or (newest and not newest.whole):
        raise ChangedError(
            "the checkpoints changed during the start",
            found=f"newest: {newest.path if newest else 'none'}",
            expected=f"newest: {target.path if target else 'none'}",
            remedy="find the program that writes to the folder, then start again",
        )
    if target is not None:
        keep(place, target.step, target.path, say)
    return target


def keep(place: Place, step: int, path: str, say: Say) -> Mapping[str, object] | None:
    """Seal a whole save. A disk error is reported and does not end the training."""
    try:
        return seal.seal(place, step, path, say)
    except OSError as error:
        say(f"step {step} could not be sealed: {error.strerror} ({error.filename or place.kept})")
        return None
