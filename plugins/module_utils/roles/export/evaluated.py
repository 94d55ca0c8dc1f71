"""What the evaluation of a run found, for its model card. Reads alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...core.wire import Measured
from ...evaluation import folder
from ...evaluation.wire import LOSS


@dataclass(frozen=True)
class Evaluated:
    """One subject in one mode. `rows` of `wanted` were evaluated. `ce`, `mse`: means of the rows' means. `right` of
    `lettered`: rows whose letter is the expected one; `unparsed`: of these without a letter."""

    subject: str
    mode: Literal["loss", "answers"]
    rows: int
    wanted: int
    data: str = ""  # SHA-256 of the test file
    ce: Measured | None = None
    mse: Measured | None = None
    right: int = 0
    lettered: int = 0
    unparsed: int = 0


def evaluated(path: str, step: int, kind: str) -> tuple[Evaluated, ...]:
    """Of the base and of these weights of a step; () without an evaluation."""
    try:
        places = folder.places(path)
    except OSError:
        return ()
    return tuple(_of(place) for place in places if _belongs(place, step, kind))


def _belongs(place: folder.Place, step: int, kind: str) -> bool:
    about = folder.about_in(place)
    if about is None or place.subject == folder.BASE:
        return about is not None
    # Of adapters the merged model is what they are when they are applied on load.
    return folder.step_of(place.subject) == step and (kind == "merged" or about.weights_file == f"{kind}.safetensors")


def _of(place: folder.Place) -> Evaluated:
    about, rows = folder.about_in(place), folder.rows_in(place)
    wanted, data = (about.rows, about.data_digest) if about else (0, "")
    mode: Literal["loss", "answers"] = "loss" if place.mode == LOSS else "answers"
    if mode == LOSS:
        ce, mse = (_mean([getattr(row, name) for row in rows]) for name in ("ce", "mse"))
        return Evaluated(place.subject, mode, len(rows), wanted, data, ce, mse)
    letters = {one.row: one.answer for one in folder.questions_in(place.folder)}
    asked = [(row.letter, letters[row.row]) for row in _answers(rows) if letters.get(row.row)]
    right, unparsed = sum(one == wanted for one, wanted in asked), sum(one is None for one, _wanted in asked)
    return Evaluated(place.subject, mode, len(rows), wanted, data, right=right, lettered=len(asked), unparsed=unparsed)


def _answers(rows: Sequence[Any]) -> Iterator[Any]:
    yield from (row for row in rows if hasattr(row, "letter"))


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None and not math.isnan(value)]
    return math.fsum(found) / len(found) if found else None
