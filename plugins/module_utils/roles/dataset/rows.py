"""Reads a parquet file row by row, like the trainer, and finds rows that it cannot use.

Needs pyarrow and Pillow (imported where used); reads a few rows at a time, so memory stays far below the file's size.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ...trainer.tokens import Bounds, Transforms, text_bounds
from . import digests as dataset_digests
from .inspection import Longest

RULES = 3  # raised when a file would be judged differently, so that an old record is not trusted
SIDES = ("question", "solution")
COLUMNS = ("answer", *(f"{side}_interleave" for side in SIDES), *(f"{side}_images" for side in SIDES))
PIXELS_MOST = 200_000_000  # the trainer's own limit against decompression bombs
BATCH_BYTES = 8 << 20

OnProgress = Callable[[int], None]  # rows done
Count = Callable[[str], Bounds]


# Reasons, each followed by ": " and its place where there is one: rows are counted by them.
NO_SOLUTION_IMAGE = "the solution has no image"
CUT_IMAGE = "an image is cut short (the trainer would learn its grey rest)"


class BadRowError(Exception):
    """Why the trainer would drop this row or die of it: a reason, ": " and the place."""


@dataclass
class Seen:
    """Problems of the rows so far."""

    bad: list[tuple[int, str]] = field(default_factory=list)
    index_nulls: int = 0
    lengths: dict[int, int] = field(default_factory=dict)  # tokens of a sample, at most: rows that have so many
    at_least: dict[int, int] = field(default_factory=dict)  # the same with the lower bound of its text
    longest: Longest = field(default_factory=Longest)
    digests: list[dataset_digests.RowDigests] = field(default_factory=list)

    def sample(self, row: int, texts: Bounds, images: int) -> None:
        least, tokens = texts[0] + images, texts[1] + images
        self.lengths[tokens] = self.lengths.get(tokens, 0) + 1
        self.at_least[least] = self.at_least.get(least, 0) + 1
        if tokens > self.longest.tokens:
            self.longest = Longest(row, tokens, images)


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
    """Columns that the loader needs and that are missing or wrong, in words."""
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
            wrong = "" if text(kind) or _is_number(kind) else "a string or a number"
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


def _is_number(kind: Any) -> bool:
    kinds = import_module("pyarrow.types")

    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind))


def _holds_bytes(kind: Any) -> bool:
    kinds = import_module("pyarrow.types")

    if kinds.is_struct(kind):
        return any(member.name == "bytes" and _holds_bytes(member.type) for member in kind)
    return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))


def read_rows(
    file: Any, path: str, transforms: Transforms, on_progress: OnProgress, count: Count = text_bounds
) -> Seen:
    """Checks every row; decodes each image like the trainer."""
    seen, row = Seen(), 0
    kind = file.schema_arrow.field("answer").type
    # the trainer reads through pandas, where a null among numbers is nan, which counts as an answer
    absent = math.nan if _is_number(kind) and not import_module("pyarrow.types").is_boolean(kind) else None
    for batch in batches(file, path, COLUMNS):
        for values in batch.to_pylist():
            values["answer"] = absent if values["answer"] is None else values["answer"]
            _look(seen, row, values, transforms, count)
            row += 1
        on_progress(row)
    return seen


def _look(seen: Seen, row: int, values: dict[str, Any], transforms: Transforms, count: Count) -> None:
    for side in SIDES:
        items = values[f"{side}_interleave"] or ()
        seen.index_nulls += sum(1 for item in items if item and _is_null(item.get("index")))
    cache = ImageCache()
    try:
        seen.sample(row, *sample_tokens(values, transforms, cache, count))
    except BadRowError as why:
        seen.bad.append((row, str(why)))
    seen.digests.append(dataset_digests.of_row(values, [cache.digest(one) for one in values["question_images"] or ()]))


def sample_tokens(
    values: dict[str, Any], transforms: Transforms, cache: ImageCache, count: Count = text_bounds
) -> tuple[Bounds, int]:
    """Tokens of a row's texts and (exact) of its images. Raises BadRowError for an unusable row."""
    if not values["answer"]:
        raise BadRowError("answer is empty")
    texts: list[Bounds] = []
    images = 0
    for side in SIDES:
        items = values[f"{side}_interleave"]
        if not items:
            raise BadRowError(f"{side}_interleave is empty")
        pictures = values[f"{side}_images"] or []
        kinds = [(item or {}).get("type") for item in items]
        if side == "solution" and "image" not in kinds:
            raise BadRowError(NO_SOLUTION_IMAGE)
        for place, item in enumerate(items):
            where = f"{side}_interleave[{place}]"
            if kinds[place] == "text":
                texts.append(count(_text(item, where)))
            elif kinds[place] == "image":
                width, height = cache.size(_picture(item, pictures, where), f"{side} image")
                images += transforms.image_tokens(width, height, learned=side == "solution")
            else:
                raise BadRowError(f"an item is neither text nor image: {where} has type {kinds[place]!r}")
    return (sum(least for least, _unused in texts), sum(most for _unused, most in texts)), images


def _text(item: dict[str, Any], where: str) -> str:
    if "content" not in item:
        raise BadRowError(f"a text has no content: {where}")
    return str(item["content"] or "")


def _is_null(index: Any) -> bool:
    return index is None or (isinstance(index, float) and math.isnan(index))


def _content(picture: Any) -> bytes:
    return bytes((picture.get("bytes") if isinstance(picture, dict) else picture) or b"")


def _picture(item: dict[str, Any], pictures: list[Any], where: str) -> bytes:
    index = item.get("index")
    if _is_null(index):
        raise BadRowError(f"an image without index: {where}")
    if not isinstance(index, (int, float)) or index != int(index):
        raise BadRowError(f"an index is not a whole number: {where} has {index!r}")
    if not 0 <= index < len(pictures):
        raise BadRowError(f"an index is out of range: {where} has index {int(index)}, there are {len(pictures)} images")
    content = _content(pictures[int(index)])
    if not content:
        raise BadRowError(f"an image has no bytes: {where}")
    return content


class ImageCache:
    """The images of one row, each decoded once."""

    def __init__(self) -> None:
        self.sizes: dict[bytes, tuple[int, int]] = {}
        self.pixels: dict[bytes, bytes] = {}  # digest of what is seen, by what is stored

    def size(self, content: bytes, what: str) -> tuple[int, int]:
        """Width and height in pixels, after a real decode."""
        if content not in self.sizes:
            self.sizes[content], self.pixels[content] = decoded(content, what)
        return self.sizes[content]

    def digest(self, picture: Any) -> bytes:
        """Digest of the pixels, or of the bytes when they cannot be decoded."""
        content = _content(picture)
        with suppress(BadRowError):
            self.size(content, "")
        return self.pixels.get(content) or dataset_digests.of_bytes([content])[0]


def decoded(content: bytes, what: str) -> tuple[tuple[int, int], bytes]:
    """Size in pixels, and a digest of the pixels. Raises BadRowError for a broken image."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = PIXELS_MOST
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            size = (int(image.width), int(image.height))
            seen = dataset_digests.joined([repr(size).encode(), image.convert("RGBA").tobytes()])
    except Exception as error:  # Pillow's decoders raise whatever they like, struct.error and SyntaxError among them
        reason = " ".join(str(error).split()).split(" <_io", maxsplit=1)[0]
        kind = CUT_IMAGE if "truncated" in reason else "an image cannot be decoded"
        raise BadRowError(f"{kind}: {what} ({type(error).__name__}: {reason})") from error
    return size, seen
