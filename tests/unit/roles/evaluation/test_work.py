"""The evaluation as long work: from a host's settings to its answer."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import perform, state
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.asked import NAMES
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.found import Found, Save
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec
from ansible_collections.canvas.fleet.plugins.module_utils.roles.evaluation import work
from ansible_collections.canvas.fleet.plugins.module_utils.work import entry
from ansible_collections.canvas.fleet.plugins.plugin_utils import answers
from ansible_collections.canvas.fleet.plugins.plugin_utils.jobs import JOBS, spec_of
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

from tests.unit.support.units import SETTINGS

FOUND = Found(1000, saves=(Save(60, "/r/checkpoints/0000060", "full", ("model.safetensors",)),), free=10**12)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the job takes from all settings of a host."""
    for module in (perform, work):
        monkeypatch.setattr(module, "look", lambda _spec: FOUND)
    monkeypatch.setattr(state, "busy", dict)
    return spec_of(JOBS["evaluation"], {**SETTINGS, "evaluation_dir": str(tmp_path / "evaluation")})


def test_the_job_holds_nothing_that_does_not_matter_to_the_evaluation(spec: dict[str, Any]) -> None:
    assert sorted(spec) == sorted(NAMES)


def test_its_answer_is_of_the_declared_kinds(spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Spec] = []

    def run(given: Spec, _progress: Progress) -> dict[str, Any]:
        told.append(given)
        return {"changed": True, "rows": 69, "lettered": 69, "subjects": {"base": 69, "0000060": 69}}

    monkeypatch.setattr(perform.program, "run", run)
    result = answers.of_worker("evaluation", entry.outcome("evaluation", spec, Progress())["result"])
    assert (result["changed"], result["mode"], result["subjects"]) == (True, "loss", {"base": 69, "0000060": 69})
    assert told[0].vae_transform == {"image_stride": 16, "max_image_size": 512, "min_image_size": 512}
    assert (told[0].parquet, told[0].gpus) == ("/srv/b/test.parquet", 1)


def test_a_dry_run_says_what_it_would_evaluate(spec: dict[str, Any]) -> None:
    base, newest = work.preview({**spec, "evaluation_rows": 5})
    assert base == "evaluate base (/srv/b/model/ema.safetensors): loss on 5 test rows"
    assert newest.startswith("evaluate 0000060 (/r/checkpoints/0000060/model.safetensors)")


def test_a_training_that_starts_ends_it_with_a_word_and_it_can_be_called_again(
    spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(perform.program, "run", lambda *_given: os.kill(os.getpid(), signal.SIGTERM))
    record = entry.outcome("evaluation", spec, Progress())
    assert (record["ok"], record["error"]["code"], record["unexpected"]) == (False, "EVALUATION_BUSY", False)
    assert signal.getsignal(signal.SIGTERM) == before


def test_every_setting_that_an_evaluation_asks_for_is_a_variable() -> None:
    """One that no role has would end each plan."""
    assert {*NAMES} <= {*load_specs().options}
