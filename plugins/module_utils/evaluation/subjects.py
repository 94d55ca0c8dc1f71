"""What is evaluated: the base, checkpoints, merged models, each by one file of weights."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..checkpoints import models
from ..checkpoints.seal import Place
from ..core.errors import FleetError
from ..system import files
from ..system.digests import sha256
from ..trainer import checkpoint as checkpoints
from ..trainer.adapter import FILE as ADAPTER
from ..trainer.average import BASE_SHARE, base_share
from ..trainer.checkpoint import MODEL_FILES, Checkpoint
from . import folder
from .spec import ALL, BASE, MERGED, NEWEST, Spec

EMA, MODEL = MODEL_FILES
SAMPLES, SAMPLE = 256, 1 << 16  # how many pieces of a file are read for its digest, and bytes of each
AT_THE_END = ("ema", "model", "adapter")


@dataclass(frozen=True)
class Subject:
    """`path`: the file of weights. For adapters it is the base's, and `adapter` is the file beside it, else ""."""

    name: str
    step: int | None
    path: str
    adapter: str = ""

    @property
    def weights(self) -> str:
        """The file that makes it what it is."""
        return self.adapter or self.path


def find(spec: Spec) -> list[Subject]:
    """The subjects that `spec` wants, base first. Raises FleetError, with the steps that there are."""
    base = Subject(folder.BASE, None, f"{spec.base}/{spec.base_file}")
    if not os.path.isfile(base.path):
        raise FleetError(
            "the base's weights are not there",
            variable="weights_dir",
            found=f"no {base.path}",
            remedy="run the role weights: ansible-playbook site.yml --tags weights",
        )
    if spec.step == BASE:
        return [base]
    return [*([base] if spec.compare_base else []), *_wanted(spec)]


def _wanted(spec: Spec) -> list[Subject]:
    saved, merged = checkpoints_of(spec), merged_of(spec)
    if spec.step == NEWEST and saved:
        return [saved[max(saved)]]
    if spec.step == MERGED and merged:
        return [merged[max(merged)]]
    if spec.step == ALL:
        every = [*saved.values(), *merged.values()]
        return sorted(every, key=lambda one: (one.step or 0, one.name))
    if spec.step.isdigit() and int(spec.step) in saved:
        return [saved[int(spec.step)]]
    raise FleetError(
        "there is no merged model to evaluate" if spec.step == MERGED else "there is no such checkpoint to evaluate",
        variable="evaluation_step",
        found=f"{spec.step} in {f'{spec.results}/models' if spec.step == MERGED else spec.checkpoints}",
        expected=_choice(saved, merged),
        remedy="merge the adapters first: ansible-playbook playbooks/merge.yml" if spec.step == MERGED else "",
    )


def _choice(saved: dict[int, Subject], merged: dict[int, Subject]) -> str:
    steps = ", ".join(map(str, sorted(saved))) or "none"
    also = f"; merged: {', '.join(map(str, sorted(merged)))}" if merged else ""
    return f"a step whose weights are whole: {steps}{also}; or base"


def checkpoints_of(spec: Spec) -> dict[int, Subject]:
    """Checkpoints whose weights are whole, by step: the trainer's, and those that only their links keep."""
    place = Place(spec.checkpoints, spec.kept)
    kept = [checkpoints.examine(place.links(step), step) for step in _kept(place)]
    found = {}
    for one in (*kept, *checkpoints.survey(spec.checkpoints).checkpoints):
        subject = _subject(spec, one)
        if subject:
            found[one.step] = subject
    return dict(sorted(found.items()))


def _kept(place: Place) -> list[int]:
    from ..checkpoints.seal import kept_steps

    return kept_steps(place)


def _subject(spec: Spec, one: Checkpoint) -> Subject | None:
    name = folder.subject_of(one.step)
    if models.whole_adapters(one):
        return Subject(name, one.step, f"{spec.base}/{spec.base_file}", f"{one.path}/{ADAPTER}")
    if one.form != "full":
        return None
    file = weights_file(spec, one.step)
    broken = any(flaw.startswith(file) for flaw in one.flaws) or not os.path.isfile(f"{one.path}/{file}")
    return None if broken else Subject(name, one.step, f"{one.path}/{file}")


def weights_file(spec: Spec, step: int) -> str:
    """Which file is the model; docs/results.md has the rule."""
    if spec.weights != "auto":
        return {"ema": EMA, "model": MODEL}[spec.weights]
    return EMA if spec.ema > 0 and base_share(spec.ema, step) < BASE_SHARE else MODEL


def merged_of(spec: Spec) -> dict[int, Subject]:
    """Finished merged models, by step."""
    found = {}
    for step in models.made_steps(spec.results):
        path = f"{models.folder_of(spec.results, step)}/{EMA}"
        if os.path.isfile(path):
            found[step] = Subject(folder.subject_of(step, merged=True), step, path)
    return found


def digest(subject: Subject) -> str:
    """Tells weights from other weights: of sizes and of pieces all over the files.

    A training changes every tensor, so 16 MB of 29 GB are enough. Raises OSError.
    """
    return sha256(*(_sampled(path) for path in (subject.path, subject.adapter) if path))


def _sampled(path: str) -> str:
    source, size = files.open_plain(path)
    pieces = [str(size).encode()]
    with source:
        for number in range(SAMPLES):
            source.seek(max(0, size - SAMPLE) * number // (SAMPLES - 1))
            pieces.append(source.read(SAMPLE))
    return sha256(*pieces)
