"""What an evaluation needs before it starts. A file whose tests need more rows has a `made` of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.minicanvas import tiny_model
from demo.puzzles import generate
from tests.integration.minicanvas_evaluation import ROWS


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder and the user's data as it comes, with few test rows."""
    place = tmp_path_factory.mktemp("made")
    tiny_model.write_model(place / "model")
    generate.write_dataset(place / "output", rows_train=40, rows_test=ROWS)
    return place
