"""The merge as long work: from a host's settings to the model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import work
from ansible_collections.canvas.fleet.plugins.module_utils.work import entry
from ansible_collections.canvas.fleet.plugins.plugin_utils import answers
from ansible_collections.canvas.fleet.plugins.plugin_utils.jobs import JOBS, spec_of

from tests.unit.support import models, saves


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    """What the job takes from all settings of a host."""
    out = tmp_path / "out"
    settings = {
        "training_results_dir": str(out), "training_checkpoint_dir": f"{out}/checkpoints/", "training_kept_dir": "",
        "training_merge_step": -1, "training_run": "a", "weights_dir": str(tmp_path / "model"), "weights_token": "t",
        "weights_files": [*models.SMALL_FILES, "ae.safetensors", "ema.safetensors"],
    }  # fmt: skip
    base = models.base(tmp_path / "model")
    saves.save(out / "checkpoints", 20, files=saves.LORA)
    models.adapters(out / "checkpoints/0000020/adapter.safetensors", base)
    return spec_of(JOBS["training"], settings)


def test_the_work_makes_the_folder_and_says_so_in_its_declared_kinds(spec: dict[str, Any], tmp_path: Path) -> None:
    record = entry.outcome("training", spec, Progress())
    result = answers.of_worker("training", record["result"])
    assert (result["changed"], result["step"], result["path"]) == (True, 20, f"{tmp_path}/out/models/0000020")
    assert 0 <= result["swallowed"] < 1
    assert (tmp_path / "out/models/0000020/MERGED.json").is_file()


def test_a_step_that_is_not_there_is_the_answer_of_the_work(spec: dict[str, Any]) -> None:
    record = entry.outcome("training", {**spec, "training_merge_step": 30}, Progress())
    assert (record["ok"], record["error"]["variable"]) == (False, "training_merge_step")
    assert record["error"]["expected"] == "one of 20"


def test_the_job_holds_nothing_that_does_not_matter_to_the_merge(spec: dict[str, Any]) -> None:
    assert sorted(spec) == [
        "training_checkpoint_dir", "training_kept_dir", "training_merge_step", "training_results_dir", "weights_dir",
        "weights_files",
    ]  # fmt: skip


@pytest.mark.parametrize(("step", "which"), [(-1, "the newest checkpoint"), (40, "step 40")])
def test_a_dry_run_says_what_it_would_merge(spec: dict[str, Any], step: int, which: str) -> None:
    (said,) = work.preview({**spec, "training_merge_step": step})
    assert which in said
