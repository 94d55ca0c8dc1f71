"""The demo's trainer with adapters keeps the contract of the patched one: files, log lines, losses, a merge.

Needs an interpreter with torch, named by MINICANVAS_PYTHON.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import merge
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import adapter, safetensors

from demo.minicanvas import tiny_model
from demo.puzzles import generate
from tests.integration.minicanvas_run import PYTHON, Run

pytestmark = pytest.mark.skipif(not PYTHON, reason="MINICANVAS_PYTHON names no interpreter with torch")

LORA: dict[str, Any] = {
    "freeze_llm": True,
    "freeze_vit": True,
    "ema": 0,
    "fleet_lora_rank": 8,
    "fleet_lora_alpha": 16,
    "fleet_optimizer": "adamw_fused",
    "lr": 1e-2,
    "warmup_steps": 0,
}
FILES = ["adapter.safetensors", "data_status.pt", "optimizer.00000-of-00001.pt", "scheduler.pt"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    tiny_model.write_model(folder / "model")
    generate.write_dataset(folder / "output", rows_train=120, rows_test=12)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Run:
    """Thirty steps of two ranks."""
    run = Run(tmp_path_factory.mktemp("trained"), made)
    assert run(2, total_steps=30, save_every=15, log_every=5, del_previous_state=False, **LORA) == 0, run.stderr
    return run


def test_adapters_learn_and_say_so(trained: Run) -> None:
    losses = trained.steps()
    assert losses[30][0] < losses[0][0] * 0.75
    assert trained.stderr.count(f"Loading checkpoint from {trained.made}/model.") == 1
    assert re.search(
        r"canvas-fleet lora: 8 adapters, \d+ parameters, rank 8, base \d+ tensors loaded\n", trained.stderr
    )
    sizes = [float(size) for size in re.findall(r"canvas-fleet lora: \|B\| = (\S+)\n", trained.stderr)]
    assert len(sizes) == 3  # at both saves, and at step 20
    assert 0 < sizes[0] < sizes[-1]


def test_a_checkpoint_is_the_second_form(trained: Run) -> None:
    folder = trained.checkpoints / "0000030"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    with (folder / "adapter.safetensors").open("rb") as file:
        found = adapter.adapter_of(safetensors.parse(at(file), "adapter.safetensors"))
    assert (found.rank, found.alpha, found.targets, found.connectors, found.layers) == (8, 16.0, "all", True, 8)


def at(file: Any) -> Any:
    def read(offset: int, number: int) -> bytes:
        file.seek(offset)
        return bytes(file.read(number))

    return read


def test_a_killed_run_goes_on_from_its_adapters(run: Run, trained: Run) -> None:
    """… of two ranks, on one."""
    shutil.copytree(trained.checkpoints / "0000015", run.checkpoints / "0000015")
    assert run(1, total_steps=16, **LORA) == 0, run.stderr
    assert "starting at 16..." in run.stderr
    assert f"Loading checkpoint from {run.checkpoints}/0000015.\n" in run.stderr
    assert run.steps()[16][0] < trained.steps()[0][0] * 0.85


def test_a_merged_model_has_the_losses_of_its_adapters(run: Run, trained: Run, tmp_path: Path) -> None:
    base = trained.made / "model"
    folder = tmp_path / "merged"
    shutil.copytree(base, folder)
    source = trained.checkpoints / "0000030"
    with (
        merge.opened(str(base / "ema.safetensors")) as weights,
        merge.opened(str(source / "adapter.safetensors")) as low,
    ):
        merge.check(weights, low)
        with (folder / "ema.safetensors").open("wb") as out:
            merge.merge(weights, low, out, lambda done, of: None)
    alone = {"auto_resume": False, "resume_model_only": True, "total_steps": 0}
    assert run(1, resume_from=source, **{**LORA, **alone}) == 0, run.stderr
    beside = run.steps()[0]
    assert run(1, resume_from=folder, **{**alone, "lr": 1e-5}) == 0, run.stderr
    assert run.steps()[0] == pytest.approx(beside, abs=0.02)


def test_adapters_of_another_shape_are_refused(run: Run, trained: Run) -> None:
    shutil.copytree(trained.checkpoints / "0000030", run.checkpoints / "0000030")
    assert run(1, total_steps=31, **{**LORA, "fleet_lora_rank": 4}) != 0
    assert "has rank 8, not 4" in run.stderr


def test_without_its_base_it_does_not_start_from_scratch(run: Run) -> None:
    assert run(1, resume_from=run.root / "nothing", **LORA) != 0
    assert "nothing is not " in run.stderr


@pytest.fixture
def run(tmp_path: Path, made: Path) -> Run:
    return Run(tmp_path, made)
