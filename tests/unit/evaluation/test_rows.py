"""Test rows beside the evaluations: what cannot be read is named, and nothing is evaluated without it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder, rows
from PIL import Image


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(out, format="PNG")
    return out.getvalue()


def row(**changes: Any) -> dict[str, Any]:
    return {
        "task_id": 7,
        "answer": "B",
        "question_interleave": [{"type": "text", "content": "Which?"}, {"type": "image", "index": 0}],
        "solution_interleave": [{"type": "text", "content": "B"}],
        "question_images": [{"bytes": picture()}],
        **changes,
    }


def test_rows_and_their_pictures_are_written(tmp_path: Path) -> None:
    about = rows.write(str(tmp_path), [row(), row(answer=None)], "d" * 64)
    assert (about.rows, about.lettered) == (2, 1)
    assert len(folder.questions_in(str(tmp_path))) == 2


CUT = picture()[:40]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param({"question_images": [{"bytes": b"no picture"}]}, "picture 1 of its question", id="no picture"),
        pytest.param({"question_images": [{"bytes": CUT}]}, "picture 1 of its question", id="a cut picture"),
        pytest.param({"question_images": [{"bytes": None}]}, "picture 1 of its question", id="no bytes"),
        pytest.param({"question_images": [None]}, "row 1", id="a null for a picture"),
        pytest.param({"question_images": [{"path": "a.png"}]}, "row 1", id="a picture by its path"),
        pytest.param({"solution_interleave": [{"content": "B"}]}, "row 1", id="a part of no kind"),
        pytest.param({"solution_interleave": [{"type": "text", "content": 7}]}, "row 1", id="a number for a text"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, changes: dict[str, Any], found: str) -> None:
    with pytest.raises(FleetError, match="a row of the test file cannot be read") as raised:
        rows.write(str(tmp_path), [row(), row(**changes)], "d" * 64)
    assert raised.value.variable == "evaluation_test_file"
    assert "row 1" in raised.value.found
    assert found in raised.value.found
    assert folder.questions_about(str(tmp_path)) is None
