"""An evaluation that was collected, once for the tests that only read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import summary
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.shape import Evaluation
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report.summary import Collected

from tests.unit.support import evaluations


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rows, the base and two checkpoints."""
    made = tmp_path_factory.mktemp("run") / "data"
    evaluations.write(made, 6, {"base": 0.3, "0000510": 0.6, "0001530": 0.9})
    shutil.move(made.parent / "losses.csv", made / "losses.csv")
    return made


@pytest.fixture(scope="session")
def data(folder: Path) -> Collected:
    return summary.collected(str(folder))


@pytest.fixture(scope="session")
def made(data: Collected) -> Evaluation:
    return summary.evaluation("atlas", data)
