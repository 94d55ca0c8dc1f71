"""What an evaluation writes on its host, line by line, and what the controller reads of it.

A loss is a mean over the row's own tokens or patches. The loss of an evaluation is the mean of these means, so that
each row counts the same, however long its solution is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Union

from ..core.wire import Measured

SCHEMA = 1
LETTERS = ("A", "B", "C", "D")
LOSS, ANSWERS = "loss", "answers"
MODES = (LOSS, ANSWERS)


@dataclass(frozen=True)
class Text:
    """A text of a question or a solution."""

    type: Literal["text"]
    content: str


@dataclass(frozen=True)
class Picture:
    """A picture. `file`: its name in the folder of pictures beside the rows. Edges in pixels."""

    type: Literal["image"]
    file: str
    width: int
    height: int


Part = Union[Text, Picture]
Scalar = Union[bool, int, float, str]


@dataclass(frozen=True)
class About:
    """What was evaluated, and with what. `rows`: how many are wanted; 0: none of the file can be.

    `weights_digest`: of the weights that the rows were computed with. `data_digest`: SHA-256 of the test file. Times:
    ISO 8601 with a zone. `peak_bytes`: the most that one GPU has held, None on a CPU.
    """

    schema: int
    mode: Literal["loss", "answers"]
    subject: str
    step: int | None
    weights_file: str
    weights_digest: str
    data_digest: str
    rows: int
    code_commit: str
    seed: int
    settings: Mapping[str, Scalar]
    version: str
    started: str
    ended: str | None = None
    device: str = ""
    peak_bytes: int | None = None

    @property
    def same_work(self) -> tuple[object, ...]:
        """Two of them whose rows can stand in one table: more rows may be wanted, or the program may be newer."""
        return (
            self.schema,
            self.mode,
            self.subject,
            self.step,
            self.weights_file,
            self.weights_digest,
            self.data_digest,
            self.code_commit,
            self.seed,
            tuple(sorted(self.settings.items())),
        )


@dataclass(frozen=True)
class RowsAbout:
    """Of which file rows.jsonl was made. `lettered`: rows whose answer is one of A to D."""

    schema: int
    data_digest: str
    rows: int
    lettered: int


@dataclass(frozen=True)
class QuestionRow:
    """A row of the test file. `answer`: None where the file has no letter."""

    row: int
    id: str
    answer: Literal["A", "B", "C", "D"] | None
    question: tuple[Part, ...]
    solution: tuple[Part, ...]


@dataclass(frozen=True)
class LossRow:
    """The mean losses of a row, and over how many numbers they are means. None: the row has none of that kind."""

    row: int
    ce: Measured | None
    mse: Measured | None
    ce_tokens: int
    mse_tokens: int


@dataclass(frozen=True)
class AnswerRow:
    """A generated solution. `letter`: None where the text ends with no answer, or with two. `error`: why there is no
    solution; its row counts as one without a letter."""

    row: int
    letter: Literal["A", "B", "C", "D"] | None
    parts: tuple[Part, ...]
    text_tokens: int
    pictures: int
    seconds: float
    error: str | None = None
