"""Losses by upstream's own loader and model, on the CPU with a small random model."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder, program
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec

from demo.gpu_proof import evaluation


@pytest.fixture(scope="module")
def stage(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> evaluation.Stage:
    work = tmp_path_factory.mktemp("evaluation")
    made = evaluation.Stage(argparse.Namespace(canvas=str(upstream), work=str(work), small=True, layers=2, gpus=1))
    made.prepare()
    evaluation.model(made)
    return made


def rows(spec: Spec) -> bytes:
    program.run(spec, Progress())
    return Path(folder.Place(spec.folder, "base", spec.mode).rows).read_bytes()


def test_losses_are_those_of_a_random_model_and_the_same_bit_for_bit(stage: evaluation.Stage) -> None:
    first, second = (rows(stage.spec("loss", f"loss-{turn}", rows=1)) for turn in range(2))
    assert first == second
    (row,) = folder.rows_in(folder.Place(str(stage.work / "loss-0"), "base", "loss"))
    assert row.ce is not None  # type: ignore[union-attr]
    assert abs(row.ce - math.log(512)) < 1.5  # type: ignore[union-attr]
    assert (row.ce_tokens > 50, row.mse_tokens % 12) == (True, 0)  # type: ignore[union-attr]
