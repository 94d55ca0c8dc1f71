"""Reads a parquet file as the trainer would, row by row, and says which rows it could not learn from.

Needs pyarrow and Pillow (imported where used); reads a few rows at a time, so memory stays far below the file's size.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.dataset_tokens import Transforms, text_tokens

RULES = 1  # raised when a file would be judged differently, so that an old record is not trusted
SIDES = ("question", "solution")
COLUMNS = ("answer", *(f"{side}_interleave" for side in SIDES), *(f"{side}_images" for side in SIDES))
PIXELS_MOST = 200_000_000  # the trainer's own limit against decompression bombs
BATCH_BYTES = 8 << 20

Told = Callable[[int], None]  # rows done


class BadRowError(Exception):
    """Why the trainer would drop this row, or die of it."""


@dataclass
class Seen:
    """What was found in the rows so far."""

    bad: list[tuple[int, str]] = field(default_factory=list)
    index_nulls: int = 0
    lengths: dict[int, int] = field(default_factory=dict)  # tokens of a sample: rows that have so many
    longest: dict[str, int] = field(default_factory=lambda: {"row": -1, "tokens": 0, "image_tokens": 0})
    questions: list[bytes] = field(default_factory=list)

    def sample(self, row: int, texts: int, images: int) -> None:
        tokens = texts + images
        self.lengths[tokens] = self.lengths.get(tokens, 0) + 1
        if tokens > self.longest["tokens"]:
            self.longest = {"row": row, "tokens": tokens, "image_tokens": images}


def open_parquet(path: str) -> Any:
    """A ParquetFile that reads page by page, not whole column chunks."""
    return import_module("pyarrow.parquet").ParquetFile(path, buffer_size=BATCH_BYTES // 8, pre_buffer=False)


def batches(file: Any, path: str, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """Record batches of some megabytes, in row order, never across a row group's end."""
    rows = max(1, file.metadata.num_rows)
    size = max(1, min(1024, BATCH_BYTES * rows // max(1, os.path.getsize(path))))
    for group in range(file.metadata.num_row_groups):
        yield from file.iter_batches(batch_size=size, row_groups=[group], columns=columns, use_threads=False)


def missing_columns(schema: Any) -> list[str]:
    """What the loader needs and does not find, each in words."""
    kinds = import_module("pyarrow.types")

    def text(kind: Any) -> bool:
        return bool(kinds.is_string(kind) or kinds.is_large_string(kind))

    def listed(kind: Any) -> bool:
        return bool(kinds.is_list(kind) or kinds.is_large_list(kind))

    found = []
    for name in COLUMNS:
        if name not in schema.names:
            found.append(f"no column {name}")
            continue
        kind = schema.field(name).type
        if name == "answer":
            wrong = "" if text(kind) else "a string"
        elif not listed(kind):
            wrong = "a list"
        elif name.endswith("_images"):
            wrong = "" if _holds_bytes(kind.value_type) else "a list of structs with bytes"
        else:
            names = [member.name for member in kind.value_type] if kinds.is_struct(kind.value_type) else []
            wrong = "" if {"type", "index"} <= set(names) else "a list of structs with type, content and index"
        if wrong:
            found.append(f"column {name} is {kind} instead of {wrong}")
    return found


def _holds_bytes(kind: Any) -> bool:
    kinds = import_module("pyarrow.types")

    if kinds.is_struct(kind):
        return any(member.name == "bytes" and _holds_bytes(member.type) for member in kind)
    return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))


def read_rows(file: Any, path: str, transforms: Transforms, told: Told, *, decode: bool = True) -> Seen:
    """Looks at every row; with decode, each image is decoded as the trainer would."""
    seen, row = Seen(), 0
    for batch in batches(file, path, COLUMNS):
        for values in batch.to_pylist():
            seen.questions.append(question_digest(values))
            if decode:
                _look(seen, row, values, transforms)
            row += 1
        told(row)
    return seen


def _look(seen: Seen, row: int, values: dict[str, Any], transforms: Transforms) -> None:
    for side in SIDES:
        items = values[f"{side}_interleave"] or ()
        seen.index_nulls += sum(1 for item in items if item and _is_null(item.get("index")))
    try:
        seen.sample(row, *sample_tokens(values, transforms))
    except BadRowError as why:
        seen.bad.append((row, str(why)))


def sample_tokens(values: dict[str, Any], transforms: Transforms) -> tuple[int, int]:
    """Tokens of a row's texts (estimated) and images (exact). Raises BadRowError for what is never learned."""
    if not values["answer"]:
        raise BadRowError("answer is empty")
    texts = images = 0
    for side in SIDES:
        items = values[f"{side}_interleave"]
        if not items:
            raise BadRowError(f"{side}_interleave is empty")
        pictures = values[f"{side}_images"] or []
        kinds = [(item or {}).get("type") for item in items]
        if side == "solution" and "image" not in kinds:
            raise BadRowError("the solution has no image, which breaks the step when the row is alone in its batch")
        for place, item in enumerate(items):
            if kinds[place] == "text":
                texts += text_tokens(item.get("content") or "")
            elif kinds[place] == "image":
                width, height = image_size(_picture(item, pictures, f"{side}_interleave[{place}]"), f"{side} image")
                images += transforms.image_tokens(width, height, learned=side == "solution")
            else:
                raise BadRowError(f"{side}_interleave[{place}] has type {kinds[place]!r} instead of text or image")
    return texts, images


def _is_null(index: Any) -> bool:
    return index is None or (isinstance(index, float) and math.isnan(index))


def _picture(item: dict[str, Any], pictures: list[Any], where: str) -> bytes:
    index = item.get("index")
    if _is_null(index):
        raise BadRowError(f"{where} is an image without index")
    if not isinstance(index, (int, float)) or index != int(index):
        raise BadRowError(f"{where} has index {index!r} instead of an integer")
    if not 0 <= index < len(pictures):
        raise BadRowError(f"{where} has index {int(index)}, but there are {len(pictures)} images")
    picture = pictures[int(index)]
    content = picture.get("bytes") if isinstance(picture, dict) else picture
    if not content:
        raise BadRowError(f"{where} points to an image without bytes")
    return bytes(content)


def image_size(content: bytes, what: str) -> tuple[int, int]:
    """Width and height in pixels, after a real decode."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = PIXELS_MOST
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return int(image.width), int(image.height)
    except Exception as error:  # Pillow's decoders raise whatever they like, struct.error and SyntaxError among them
        reason = " ".join(str(error).split()).split(" <_io")[0]
        raise BadRowError(f"{what} cannot be decoded ({type(error).__name__}: {reason})") from error


def question_digest(values: dict[str, Any]) -> bytes:
    """What makes two rows the same puzzle: the question's texts, its images, and the answer."""
    digest = hashlib.sha256()
    texts = [str(item.get("content") or "").strip() for item in values["question_interleave"] or () if item]
    for part in (str(values["answer"]), *texts):
        content = part.encode("utf-8", "replace")
        digest.update(len(content).to_bytes(8, "big") + content)
    for picture in values["question_images"] or ():
        content = (picture.get("bytes") if isinstance(picture, dict) else picture) or b""
        digest.update(hashlib.sha256(content).digest())
    return digest.digest()[:16]
