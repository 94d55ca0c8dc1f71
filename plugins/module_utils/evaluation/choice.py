"""Which weights are evaluated, and why some cannot be. Pure: the plan and the host judge by the same rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..findings.finding import Finding, finding
from ..trainer import adapter
from ..trainer.average import better_file
from . import folder
from .found import Found, Save
from .spec import ALL, BASE, MERGED, NEWEST, Spec
from .subjects import Subject
from .wire import LOSS

SPARE = 64 << 20  # bytes beside the pictures
PICTURE = 1 << 20  # bytes of a generated picture of 512 pixels, at most
PICTURES = 4  # generated ones of a row, about twice as many as the longest solution has
ROWS = 100  # where nothing is known of the test file
WORDS = (NEWEST, BASE, ALL, MERGED)
STEP = "evaluation_step"


def choose(found: Found, spec: Spec) -> tuple[tuple[Subject, ...], tuple[Finding, ...]]:
    """The base first, then by step; and what stands in the way."""
    findings = [*_test(found, spec), *_base(found, spec)]
    saves, wrong = wanted(found, spec)
    findings += wrong
    base = (
        [Subject(folder.BASE, None, f"{spec.base}/{spec.base_file}")] if spec.compare_base or spec.step == BASE else []
    )
    chosen = (*base, *(_subject(save, spec) for save in saves))
    return chosen, (*findings, *_disk(found, spec, len(chosen)))


def wanted(found: Found, spec: Spec) -> tuple[list[Save], list[Finding]]:
    """Checkpoints or merged models, by rising step."""
    if spec.step == BASE:
        return [], []
    merged = spec.step == MERGED
    saves = [one for one in found.saves if (one.form == "merged") is merged]
    usable = [one for one in saves if file_of(one, spec) and not one.other]
    if spec.step in (NEWEST, ALL, MERGED):
        if usable:
            return (usable if spec.step == ALL else usable[-1:]), []
        return [], [_none(saves, spec)]
    number = int(spec.step) if spec.step.isascii() and spec.step.isdigit() else None
    one = next((one for one in saves if one.step == number), None)
    if one is None:
        return [], [_unknown(usable, spec)]
    return ([one], []) if one in usable else ([], [_unusable(one, spec)])


def file_of(save: Save, spec: Spec) -> str:
    """The file of a checkpoint that is evaluated; "" where it is not whole. auto: by docs/results.md."""
    if save.form != "full":
        return save.files[0] if save.files else ""
    kind = better_file(spec.ema, save.step) if spec.weights == "auto" else spec.weights
    name = f"{kind}.safetensors"
    return name if name in save.files else ""


def _subject(save: Save, spec: Spec) -> Subject:
    name, path = folder.subject_of(save.step, save.form == "merged"), f"{save.path}/{file_of(save, spec)}"
    if save.form == "lora":
        return Subject(name, save.step, f"{spec.base}/{spec.base_file}", path)
    return Subject(name, save.step, path)


def _unknown(usable: Sequence[Save], spec: Spec) -> Finding:
    there = ", ".join(str(one.step) for one in usable[-20:])
    return finding(
        "EVALUATION_STEP_UNKNOWN",
        variable=STEP,
        found=f"{spec.step[:40]}; {spec.checkpoints} has no such step",
        expected=f"one of {there}, or {', '.join(WORDS)}" if there else f"{BASE}: there is no checkpoint yet",
    )


def _none(saves: Sequence[Save], spec: Spec) -> Finding:
    if saves:
        return _unusable(saves[-1], spec)
    if spec.step == MERGED:
        return finding(
            "EVALUATION_NOT_MERGED",
            variable=STEP,
            found=f"no merged model below {spec.results}/models",
            expected="a model that was merged of adapters",
        )
    return _unknown((), spec)


def _unusable(save: Save, spec: Spec) -> Finding:
    if save.other:
        return finding(
            "EVALUATION_CHECKPOINT_OTHER",
            variable=STEP,
            found=f"{save.path}: {save.other}",
            expected=f"weights of the model in {spec.base}",
        )
    lacking = adapter.FILE if save.form == "lora" else f"{spec.weights}.safetensors".replace("auto.", "ema or model.")
    return finding(
        "EVALUATION_CHECKPOINT_BROKEN",
        variable=STEP,
        found=f"{save.path}: {'; '.join(save.flaws) or f'no whole {lacking}'}",
        expected="a checkpoint with whole weights",
    )


def _test(found: Found, spec: Spec) -> Iterator[Finding]:
    if found.test_bytes is None:
        yield finding(
            "EVALUATION_TEST_MISSING",
            variable="dataset_test",
            found=f"{spec.parquet} is not there" if spec.parquet else "dataset_test names no file",
            expected="a test parquet on the host",
        )
    elif found.lettered == 0 and spec.mode != LOSS:
        yield no_letters(spec, found.rows or 0)


def no_letters(spec: Spec, rows: int) -> Finding:
    return finding(
        "EVALUATION_NO_LETTERS",
        variable="evaluation_mode",
        found=f"{spec.parquet}: none of {rows} rows has an answer of A to D",
        expected="loss",
    )


def _base(found: Found, spec: Spec) -> Iterator[Finding]:
    if found.base_flaw:
        yield finding(
            "EVALUATION_BASE_BROKEN", variable="weights_dir", found=found.base_flaw, expected="the whole base model"
        )


def _disk(found: Found, spec: Spec, subjects: int) -> Iterator[Finding]:
    need = room(found, spec, subjects)
    if found.free < need:
        yield finding(
            "EVALUATION_DISK_SHORT",
            variable="evaluation_dir",
            found=f"{_gb(found.free)} free at {spec.folder}",
            expected=f"{_gb(need)} for {'the pictures' if spec.mode == LOSS else 'test rows and generated pictures'}",
        )


def room(found: Found, spec: Spec, subjects: int) -> int:
    """Bytes that the test rows and the generated pictures take at most."""
    rows = min(one for one in (spec.rows or found.rows or ROWS, found.rows or spec.rows or ROWS))
    drawn = 0 if spec.mode == LOSS else subjects * rows * PICTURES * PICTURE
    return 2 * (found.test_bytes or 0) + drawn + SPARE


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
