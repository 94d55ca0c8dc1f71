"""One evaluation of the demo's trainer, for the tests that start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec

from demo.minicanvas import tiny_model
from tests.integration.minicanvas_run import PYTHON, Run

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


def spec_of(run: Run, folder: Path) -> Spec:
    """The losses of a run's newest checkpoint and its base, without a GPU."""
    return Spec(
        mode="loss",
        folder=str(folder),
        code=str(run.code),
        commit="c" * 40,
        base=str(run.made / "model"),
        checkpoints=str(run.checkpoints),
        kept=str(run.out / "kept"),
        results=str(run.out),
        parquet=str(run.made / "output/test_split.parquet"),
        weights="model",
        gpus=0,
        vae_transform={"image_stride": 16, "max_image_size": 512, "min_image_size": 512},
        vit_transform={"image_stride": 14, "max_image_size": 512, "min_image_size": 512},
        generation=FEW,
    )


def start(program: str, spec: Spec, **changes: Any) -> subprocess.Popen[str]:
    asked = json.dumps({**wire.to_dict(spec), **changes})
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'collections'}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [PYTHON, "-c", program, asked, spec.code],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, start_new_session=True,
    )  # fmt: skip


def output_of(process: subprocess.Popen[str], seconds: float = 300) -> str:
    """All that it prints until it ends. One that does not end is killed."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def ended(process: subprocess.Popen[str]) -> Any:
    """What the program returned."""
    output = output_of(process)
    assert process.returncode == 0, output[-3000:]
    return made_of(output)


def made_of(output: str) -> Any:
    word = "MADE "
    return json.loads(next(line for line in output.splitlines() if line.startswith(word))[len(word) :])


def write_deeper_model(checkpoint: Path) -> None:
    """A checkpoint of a model with one layer more."""
    whole = tiny_model.LLM_CONFIG["num_hidden_layers"]
    try:
        tiny_model.LLM_CONFIG["num_hidden_layers"] = whole + 1
        tiny_model.write_model(checkpoint)
    finally:
        tiny_model.LLM_CONFIG["num_hidden_layers"] = whole
    (checkpoint / "model.safetensors").hardlink_to(checkpoint / "ema.safetensors")
