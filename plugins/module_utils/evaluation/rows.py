"""The test rows: read from the parquet, and written beside the evaluations for whoever looks at them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Literal, cast

from ..core import wire
from ..core.errors import FleetError
from ..system import files, folders
from ..system.digests import of_file
from . import folder
from .wire import LETTERS, SCHEMA, Part, Picture, QuestionRow, RowsAbout, Text

NAMES = ("id", "task_id")  # columns that may name a row
Answer = Literal["A", "B", "C", "D"]


def read(path: str, limit: int = 0) -> list[dict[str, Any]]:
    """The rows in the file's order; `limit`: how many, 0 for all. Raises FleetError."""
    try:
        with import_module("pyarrow").OSFile(path) as source:
            table = import_module("pyarrow.parquet").ParquetFile(source).read()
    except Exception as error:  # pyarrow has a tree of its own beside OSError
        raise FleetError(
            "the test file cannot be read", variable="evaluation_test_file", found=f"{path}: {str(error)[:200]}"
        ) from error
    found = table.slice(0, limit or table.num_rows).to_pylist()
    if not found:
        raise FleetError("the test file has no row", variable="evaluation_test_file", found=path)
    return [_whole(row) for row in found]


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    """A null index, which the user's converter leaves at texts, becomes 0, as in the prepared training file."""
    for name in ("question_interleave", "solution_interleave"):
        row[name] = [{**one, "index": int(one.get("index") or 0)} for one in row.get(name) or []]
    return row


def side(row: Mapping[str, Any], name: Literal["question", "solution"]) -> Iterator[tuple[str, Any]]:
    """("text", …) and ("image", bytes) in order. A picture that is not there is left out."""
    pictures = row.get(f"{name}_images")
    pictures = [] if pictures is None else list(pictures)
    for one in row[f"{name}_interleave"]:
        if one["type"] == "text" and (one["content"] or "").strip():
            yield "text", one["content"].strip()
        elif one["type"] == "image" and one["index"] < len(pictures):
            yield "image", pictures[one["index"]]["bytes"]


def answer_of(row: Mapping[str, Any]) -> Answer | None:
    """The row's letter; None where its answer is none."""
    found = str(row.get("answer") or "").strip().strip("().").upper()
    return cast("Answer", found) if found in LETTERS else None


def opened(data: bytes) -> Any:
    """The picture as the trainer sees it (data/data_utils.py pil_img2rgb): RGB, on white where it is transparent."""
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    if image.mode != "RGBA" and image.info.get("transparency") is None:
        return image.convert("RGB")
    above = image.convert("RGBA")
    paper = Image.new("RGB", image.size, (255, 255, 255))
    paper.paste(above, mask=above.split()[3])
    return paper


def png(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def digest(path: str) -> str:
    """SHA-256 of the test file."""
    return of_file(path)


def write(place: str, found: list[dict[str, Any]], data_digest: str) -> RowsAbout:
    """Rows and pictures into the folder of evaluations; what is there of the same file stays.

    Raises FleetError for a row or a picture that cannot be read: the figures would be of other rows than one asked for.
    """
    lettered = sum(answer_of(row) is not None for row in found)
    about = RowsAbout(SCHEMA, data_digest, len(found), lettered)
    if folder.questions_about(place) == about and len(folder.questions_in(place)) == len(found):
        return about
    own = folder.rows_folder(place)
    folders.remove_tree(own)
    folders.make(f"{own}/{folder.PICTURES}")
    lines = []
    for number, row in enumerate(found):
        try:
            lines.append(folder.line_of(_question(own, number, row)))
        except (ArithmeticError, AttributeError, LookupError, SyntaxError, TypeError, ValueError) as error:
            raise _unreadable(f"row {number}", error) from error
    files.write(f"{own}/{folder.ROWS}", b"".join(line + b"\n" for line in lines))
    files.save(f"{own}/{folder.ABOUT}", wire.to_dict(about))
    return about


def _unreadable(what: str, error: Exception) -> FleetError:
    return FleetError(
        "a row of the test file cannot be read",
        variable="evaluation_test_file",
        found=f"{what}, counted from 0: {type(error).__name__}: {str(error)[:200]}",
        expected="rows and pictures that the trainer's loader reads",
        remedy="mend or leave out the row, and name the file anew: dataset_test",
    )


def _question(own: str, number: int, row: Mapping[str, Any]) -> QuestionRow:
    name = next((str(row[one]) for one in NAMES if row.get(one) is not None), str(number))
    question, solution = (tuple(_parts(own, number, row, one)) for one in ("question", "solution"))
    return QuestionRow(number, name[:200], answer_of(row), question, solution)


def _parts(own: str, number: int, row: Mapping[str, Any], name: Any) -> Iterator[Part]:
    pictures = 0
    for kind, content in side(row, name):
        if kind == "text":
            yield Text("text", content)
            continue
        pictures += 1
        file = folder.question_picture(number, name[0], pictures)
        try:
            image = opened(content)
        except Exception as error:  # what Pillow raises for bytes that are no picture has no common base
            raise _unreadable(f"row {number}, picture {pictures} of its {name}", error) from error
        files.write(f"{own}/{folder.PICTURES}/{file}", png(image), durable=False)
        yield Picture("image", file, *image.size)
