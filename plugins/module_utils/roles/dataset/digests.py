"""Digests by which rows are compared. Another file, order, id or encoding does not change them.

A question is its texts and the pixels of its images. Texts are compared in Unicode's composed form with single spaces,
images as decoded (bytes where that fails), answers without regard to case. Uses only its arguments.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...system.digests import short


@dataclass(frozen=True)
class RowDigests:
    question: bytes
    answer: bytes
    whole: bytes  # question, answer and solution


def plain(text: Any) -> str:
    """The text as it is compared."""
    return " ".join(unicodedata.normalize("NFC", "" if text is None else str(text)).split())


def joined(parts: Iterable[bytes]) -> bytes:
    """A digest of all parts, each with its length, so that moved borders change it."""
    return short(*(len(part).to_bytes(8, "big") + part for part in parts))


def of_texts(items: Sequence[Any] | None) -> list[bytes]:
    texts = (plain(item.get("content")) for item in items or () if item)
    return [text.encode("utf-8", "replace") for text in texts if text]


def of_bytes(pictures: Sequence[Any] | None) -> list[bytes]:
    """Digests of images as they are stored."""
    contents = ((one.get("bytes") if isinstance(one, dict) else one) or b"" for one in pictures or ())
    return [short(content) for content in contents]


def of_row(values: dict[str, Any], pixels: Sequence[bytes]) -> RowDigests:
    """`pixels` are digests of the question's images, decoded where that was possible."""
    question = joined([*of_texts(values["question_interleave"]), *pixels])
    answer = joined([plain(values["answer"]).casefold().encode("utf-8", "replace")])
    solution = [*of_texts(values["solution_interleave"]), *of_bytes(values["solution_images"])]
    return RowDigests(question, answer, joined([question, answer, *solution]))


def duplicates(rows: Sequence[RowDigests]) -> list[tuple[int, int]]:
    """(row, the first row with the same content), by rising row."""
    first: dict[bytes, int] = {}
    return [(row, first[one.whole]) for row, one in enumerate(rows) if first.setdefault(one.whole, row) != row]


def leaks(train: Sequence[RowDigests], test: Sequence[RowDigests]) -> list[tuple[int, int, int]]:
    """(test row, training row with the same question, 1 where the answer is the same too)."""
    asked: dict[bytes, list[int]] = {}
    for row, one in enumerate(train):
        asked.setdefault(one.question, []).append(row)
    found = []
    for row, one in enumerate(test):
        rows = asked.get(one.question, [])
        same = [place for place in rows if train[place].answer == one.answer]
        if rows:
            found.append((row, (same or rows)[0], int(bool(same))))
    return found
