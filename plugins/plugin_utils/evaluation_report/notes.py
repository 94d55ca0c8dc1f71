# SPDX-License-Identifier: Apache-2.0
"""What a reader has to know beside the numbers, in English and Chinese."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from .shape import Evaluation, Note, Scalar, Subject, Work
from .table import name

# code: English, Chinese
TEXTS: Mapping[str, tuple[str, str]] = {
    "PARTIAL": (
        "{subject}: only {rows} of {wanted} rows are there yet ({mode}).",
        "{subject}：{wanted} 行中只有 {rows} 行完成（{mode}）。",
    ),
    "NO_LETTERS": (
        "No test row has an answer letter, so there is no accuracy.",
        "测试行都没有答案字母，因此没有正确率。",
    ),
    "SOME_LETTERS": (
        "{without} of {rows} test rows have no answer letter; they are in no accuracy.",
        "{rows} 个测试行中有 {without} 行没有答案字母，不计入正确率。",
    ),
    "NOT_FINITE": (
        "{subject}: the loss of {rows} rows is no finite number; they are in no mean.",
        "{subject}：有 {rows} 行的损失不是有限数，不计入平均值。",
    ),
    "NOT_COMPARABLE": (
        "{first} and {second} are not compared ({mode}): data, seed, settings or code differ.",
        "{first} 和 {second} 不作比较（{mode}）：数据、种子、设置或代码不同。",
    ),
    "MANY_COMPARISONS": (
        "{number} comparisons at the 5 % level: about {expected} of them would show a difference by chance alone.",
        "以 5 % 为界作了 {number} 次比较：其中约 {expected} 次仅凭偶然就会显出差异。",
    ),
    "FEW_ROWS": (
        "With {rows} rows no gain in accuracy would be seen reliably.",
        "只有 {rows} 行时，正确率的任何提升都无法可靠地看出。",
    ),
    "FAILED": (
        "{subject}: {rows} rows have no solution, because the generation failed; they count as wrong.",
        "{subject}：{rows} 行生成失败，没有解答，按错误计。",
    ),
}  # fmt: skip
MANY = 5  # comparisons of which chance is mentioned


def noted(made: Evaluation) -> Evaluation:
    """The same, with its notes."""
    return replace(made, notes=tuple(_note(code, values) for code, values in _found(made)))


def _note(code: str, values: Mapping[str, Scalar]) -> Note:
    return Note(code, TEXTS[code][0].format(**values), values)


def text(note: Note, language: int) -> str:
    """In English (0) or Chinese (1)."""
    return TEXTS[note.code][language].format(**note.values)


def _found(made: Evaluation) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in made.subjects:
        for mode, work in (("answers", one.answers and one.answers.work), ("loss", one.loss and one.loss.work)):
            if work and work.rows < work.wanted:
                yield "PARTIAL", {"subject": name(one.name), "rows": work.rows, "wanted": work.wanted, "mode": mode}
        if one.loss and one.loss.not_finite:
            yield "NOT_FINITE", {"subject": name(one.name), "rows": one.loss.not_finite}
        if one.answers and one.answers.failed:
            yield "FAILED", {"subject": name(one.name), "rows": one.answers.failed}
    if made.rows and not made.lettered:
        yield "NO_LETTERS", {}
    elif made.lettered < made.rows:
        yield "SOME_LETTERS", {"without": made.rows - made.lettered, "rows": made.rows}
    yield from _apart(made)
    if made.visible and made.visible.gain is None:
        yield "FEW_ROWS", {"rows": made.visible.rows}
    if (number := len(made.comparisons)) > MANY:
        yield "MANY_COMPARISONS", {"number": number, "expected": round(number * (1 - made.confidence), 1)}


def _apart(made: Evaluation) -> Iterator[tuple[str, dict[str, Any]]]:
    """Subjects that cannot be compared with the base."""
    base = next((one for one in made.subjects if one.step is None), None)
    for one in made.subjects if base else ():
        for mode in ("answers", "loss"):
            before, after = _work(base, mode), _work(one, mode)
            if before and after and not _same(before, after):
                yield "NOT_COMPARABLE", {"first": "base", "second": name(one.name), "mode": mode}


def _work(subject: Subject | None, mode: str) -> Work | None:
    part = getattr(subject, mode, None)
    return part.work if part else None


def _same(one: Work, other: Work) -> bool:
    return all(
        getattr(one, name) == getattr(other, name) for name in ("data_digest", "code_commit", "seed", "settings")
    )
