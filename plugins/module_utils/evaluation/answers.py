"""A generated solution to one test row, by upstream's reasoner with the training's transforms."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from ..system import files
from . import chance, folder, letter, rows
from .deployed import REASONER, Deployed
from .folder import Place
from .spec import GENERATION, Spec
from .wire import AnswerRow, Part, Picture, Text

SHOWN = 20_000  # characters of one generated text that are kept
STEPS_OF_THE_LOOP = "max_iterations"


class Answers:
    """Generates the solutions of rows, and keeps their pictures."""

    def __init__(self, spec: Spec, deployed: Deployed, place: Place) -> None:
        inferencer = import_module("inferencer").InterleaveInferencer(
            deployed.model,
            deployed.vae,
            deployed.tokenizer,
            deployed.vae_transform,
            deployed.vit_transform,
            deployed.tokens,
        )
        self._reasoner = import_module(REASONER).InterleaveReasoner(inferencer)
        self._spec, self._deployed, self._place = spec, deployed, place
        self._given = {**GENERATION, **spec.generation}
        writes, longest = self._reasoner.generate_text_with_next_token_check, self._given.pop("max_text_tokens")
        self._reasoner.generate_text_with_next_token_check = partial(writes, max_length=int(longest))

    def of(self, row: int, values: Mapping[str, Any]) -> AnswerRow:
        """The row's solution; one with an error where the reasoner raised."""
        chance.start(self._spec.seed, row)
        started = time.monotonic()
        try:
            steps = self._reasoner.reasoning_inference(
                inputs(values),
                max_iterations=int(self._given[STEPS_OF_THE_LOOP]),
                cfg_interval=(0.0, 1.0),
                **{name: value for name, value in self._given.items() if name != STEPS_OF_THE_LOOP},
            )
        except Exception as error:  # what one row does to the model says nothing about the next
            said = f"{type(error).__name__}: {error}"[:500]
            return AnswerRow(row, None, (), 0, 0, round(time.monotonic() - started, 3), said)
        parts = self._kept(row, steps)
        texts = [one.content for one in parts if isinstance(one, Text)]
        return AnswerRow(
            row,
            letter.letter_of("\n".join(texts)),
            parts,
            sum(len(self._deployed.tokenizer.encode(text)) for text in texts),
            len(parts) - len(texts),
            round(time.monotonic() - started, 3),
        )

    def _kept(self, row: int, steps: Sequence[Mapping[str, Any]]) -> tuple[Part, ...]:
        parts: list[Part] = []
        for step in steps:
            if step["type"] == "text":
                parts.append(Text("text", str(step["content"])[-SHOWN:]))
                continue
            name = folder.answer_picture(row, sum(isinstance(one, Picture) for one in parts) + 1)
            files.write(f"{self._place.pictures}/{name}", rows.png(step["content"]))
            parts.append(Picture("image", name, *step["content"].size))
        return tuple(parts)


def inputs(values: Mapping[str, Any]) -> list[Any]:
    """The question as the trainer's loader reads it: texts without the space around them, pictures as RGB."""
    found: list[Any] = []
    for kind, content in rows.side(values, "question"):
        found.append(content if kind == "text" else rows.opened(content))
    return found
