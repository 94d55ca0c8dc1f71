"""An evaluation with real torch on the CPU: minicanvas' own classes.

Needs an interpreter with torch, named by MINICANVAS_PYTHON, as test_minicanvas.py does.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.folder import Place
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec

from demo.minicanvas import tiny_model
from demo.puzzles import generate
from tests.integration.minicanvas_run import PYTHON, Run

pytestmark = pytest.mark.skipif(not PYTHON, reason="MINICANVAS_PYTHON names no interpreter with torch")

ROOT = Path(__file__).parents[2]
ROWS = 5
DRIVE = """
import json, sys
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import program
try:
    made = program.run(json.loads(sys.argv[1]), Progress())
except FleetError as error:
    sys.exit(str(error))
print("MADE " + json.dumps(made))
"""
FEW = {"num_timesteps": 3, "max_iterations": 3}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    tiny_model.write_model(place / "model")
    generate.write_dataset(place / "output", rows_train=40, rows_test=ROWS)
    return place


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Run:
    """Ten steps: enough for a loss that is clearly lower."""
    run = Run(tmp_path_factory.mktemp("trained"), made)
    assert run.start(total_steps=10, save_every=10).wait(600) == 0, run.stderr
    return run


@pytest.fixture
def spec(tmp_path: Path, trained: Run, made: Path) -> Spec:
    return Spec(
        mode="loss",
        folder=str(tmp_path / "evaluation"),
        code=str(trained.code),
        commit="c" * 40,
        base=str(made / "model"),
        checkpoints=str(trained.checkpoints),
        kept=str(trained.out / "kept"),
        results=str(trained.out),
        parquet=str(made / "output/test_split.parquet"),
        weights="model",
        gpus=0,
        vae_transform={"image_stride": 16, "max_image_size": 512, "min_image_size": 512},
        vit_transform={"image_stride": 14, "max_image_size": 512, "min_image_size": 512},
        generation=FEW,
    )


def start(program: str, spec: Spec, **changes: Any) -> subprocess.Popen[str]:
    told = json.dumps({**wire.to_dict(spec), **changes})
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'collections'}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [PYTHON, "-c", program, told, spec.code],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, start_new_session=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], word: str = "MADE") -> Any:
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said[-3000:]
    return json.loads(next(line for line in said.splitlines() if line.startswith(word))[len(word) + 1 :])


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
    assert all(after.ce < before.ce - 0.3 for before, after in zip(base, tuned, strict=True))
    assert statistics.mean(one.mse for one in tuned) < statistics.mean(one.mse for one in base)
    assert [one.ce_tokens for one in base] == [one.ce_tokens for one in tuned]


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


def test_a_checkpoint_of_another_model_is_refused_by_name(spec: Spec, tmp_path: Path) -> None:
    other = tmp_path / "other"
    whole = tiny_model.LLM_CONFIG["num_hidden_layers"]
    try:
        tiny_model.LLM_CONFIG["num_hidden_layers"] = whole + 1
        tiny_model.write_model(other / "0000010")
    finally:
        tiny_model.LLM_CONFIG["num_hidden_layers"] = whole
    (other / "0000010/model.safetensors").hardlink_to(other / "0000010/ema.safetensors")
    process = start(DRIVE, spec, checkpoints=str(other), compare_base=False)
    said = process.communicate(timeout=300)[0]
    assert process.returncode != 0
    assert "another model" in said
    assert "layers.2" in said
