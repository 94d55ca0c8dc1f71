"""An evaluation with real torch on the CPU: minicanvas' own classes.

Needs an interpreter with torch, named by MINICANVAS_PYTHON, as test_minicanvas.py does.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.folder import Place
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec

from tests.integration.minicanvas_evaluation import DRIVE, ROWS, ended, spec_of, start
from tests.integration.minicanvas_run import PYTHON, Run

pytestmark = pytest.mark.skipif(not PYTHON, reason="MINICANVAS_PYTHON names no interpreter with torch")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Run:
    """Ten steps: enough for a loss that is clearly lower."""
    run = Run(tmp_path_factory.mktemp("trained"), made)
    assert run.start(total_steps=10, save_every=10).wait(600) == 0, run.stderr
    return run


@pytest.fixture
def spec(tmp_path: Path, trained: Run) -> Spec:
    return spec_of(trained, tmp_path / "evaluation")


def losses(spec: Spec, name: str) -> list[Any]:
    return folder.rows_in(Place(spec.folder, name, "loss"))


def test_losses_are_the_same_bit_for_bit_and_lower_after_a_training(spec: Spec, tmp_path: Path) -> None:
    first = ended(start(DRIVE, spec))
    assert first["subjects"].keys() == {"base", "0000010"}
    other = Spec(**{**vars(spec), "folder": str(tmp_path / "again"), "gpus": 2})
    ended(start(DRIVE, other))
    for name in ("base", "0000010"):
        assert losses(spec, name) == losses(other, name)
    base, tuned = (losses(spec, name) for name in ("base", "0000010"))
    assert len(base) == len(tuned) == ROWS
    assert all(after.ce < before.ce - 0.1 for before, after in zip(base, tuned, strict=True))
    assert statistics.mean(one.mse for one in tuned) < statistics.mean(one.mse for one in base)
    assert [one.ce_tokens for one in base] == [one.ce_tokens for one in tuned]


def test_the_base_has_the_loss_that_the_trainer_itself_shows_at_its_first_step(tmp_path: Path, made: Path) -> None:
    """All rows of the training are one and the same, and nothing is dropped: a batch of any size has its loss."""
    run = Run(tmp_path / "same", made)
    run.prepare(4, lambda rows: rows.__setitem__(slice(None), [rows[1]] * 8))
    nothing_dropped = {f"{kind}_cond_dropout_prob": 0 for kind in ("text", "vit", "vae")}
    assert run.start(total_steps=1, save_every=1, **nothing_dropped).wait(240) == 0, run.stderr
    asked = replace(spec_of(run, tmp_path / "evaluation"), parquet=str(run.parquet))
    ended(start(DRIVE, asked, step="base"))
    ours, shown = losses(asked, "base")[0], min(run.steps().items())[1]
    assert ours.ce == pytest.approx(shown[0], abs=1e-4)
    assert ours.mse == pytest.approx(shown[1], rel=0.1), "its noise and times are drawn otherwise"


def test_a_killed_evaluation_goes_on_at_the_next_row(spec: Spec) -> None:
    place = Place(spec.folder, "base", "answers")
    with start(DRIVE, spec, mode="answers", step="base") as process:
        until = time.monotonic() + 240
        while len(folder.done(place)) < 2 and time.monotonic() < until and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    kept = Path(place.rows).read_bytes().splitlines()
    assert len(kept) >= 2
    ended(start(DRIVE, spec, mode="answers", step="base"))
    after = Path(place.rows).read_bytes().splitlines()
    assert [line for line in kept if line in after] == [line for line in kept if line.endswith(b"}")]
    assert sorted(folder.done(place)) == list(range(ROWS))
