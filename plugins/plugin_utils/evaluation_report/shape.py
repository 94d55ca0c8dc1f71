# SPDX-License-Identifier: Apache-2.0
"""evaluation.json, as frozen dataclasses; docs/evaluation.schema.json is made from them.

Shares are between 0 and 1. A loss is the mean over rows of the row's own mean. Intervals are of 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SCHEMA = 1
CONFIDENCE = 0.95
CHANCE = 0.25  # four letters
POWER = 0.8

Measure = Literal["ce", "mse", "accuracy"]
Verdict = Literal["better", "worse", "not seen"]
Scalar = bool | int | float | str


@dataclass(frozen=True)
class Interval:
    """A value with its interval, and of how many rows. Without an interval there are too few rows, or all are equal."""

    value: float
    low: float | None
    high: float | None
    rows: int


@dataclass(frozen=True)
class Work:
    """How rows were computed. `wanted`, `rows`: how many were to be and how many are. Times as the host wrote them."""

    wanted: int
    rows: int
    weights_file: str
    weights_digest: str
    data_digest: str
    code_commit: str
    seed: int
    settings: Mapping[str, Scalar]
    version: str
    started: str
    ended: str | None
    device: str
    peak_bytes: int | None


@dataclass(frozen=True)
class Losses:
    """`not_finite`: rows whose loss is no finite number; they are in no mean."""

    work: Work
    ce: Interval | None
    mse: Interval | None
    not_finite: int


@dataclass(frozen=True)
class Answers:
    """`accuracy`: right ones of the rows that have a letter in the test file. Unparsed and failed rows count as wrong.

    `above_chance`: probability that guessing one of four letters is right so often. `tokens`, `pictures`, `seconds`:
    means of a row.
    """

    work: Work
    right: int
    accuracy: Interval | None
    above_chance: float | None
    unparsed: int
    failed: int
    tokens: float
    pictures: float
    seconds: float


@dataclass(frozen=True)
class Subject:
    """What was evaluated: the base model (`step` null) or a checkpoint."""

    name: str
    step: int | None
    merged: bool
    loss: Losses | None
    answers: Answers | None


@dataclass(frozen=True)
class Comparison:
    """Two subjects on the same rows; a difference is the later one's value less the earlier one's.

    `gained`, `lost`: rows that became right, or wrong. `p`: of McNemar's exact test, or of the paired t-test.
    """

    first: str
    second: str
    measure: Measure
    difference: Interval
    p: float | None
    gained: int | None
    lost: int | None
    verdict: Verdict


@dataclass(frozen=True)
class Visible:
    """What these rows can show: the least gain in accuracy over `of` that McNemar's exact test at 5 % sees with
    a probability of `power`, if the two subjects are right independently of each other; null: no gain is large enough.

    `changes`: so many rows at least have to change, all in one direction.
    """

    rows: int
    of: float
    gain: float | None
    power: float
    changes: int


@dataclass(frozen=True)
class Outcome:
    """A test row, and what each subject made of it."""

    row: int
    id: str
    answer: str | None
    letters: Mapping[str, str | None]
    ce: Mapping[str, float]
    mse: Mapping[str, float]


@dataclass(frozen=True)
class Curve:
    """A loss of the training by step, thinned out to a few hundred points, each the mean of the steps around it."""

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Note:
    """What a reader has to know beside the numbers. `values`: what the text in another language needs."""

    code: str
    text: str
    values: Mapping[str, Scalar]


@dataclass(frozen=True)
class Evaluation:
    """The whole report as data. `rows`: of the test file; `lettered`: those with an answer letter."""

    schema: int
    run: str
    data_digest: str
    rows: int
    lettered: int
    chance: float
    confidence: float
    subjects: tuple[Subject, ...]
    comparisons: tuple[Comparison, ...]
    visible: Visible | None
    outcomes: tuple[Outcome, ...]
    curves: tuple[Curve, ...]
    notes: tuple[Note, ...]
