"""Which file of a finished run is the model, and how it comes home."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.wire import from_dict
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.report import Report
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training.results import result_of

FOLDER = "/srv/atlas/checkpoints"


def result(
    ema: float = 0.95, rank: int = 0, form: str = "full", merge: str = "at_end", told: str = "", **changes: Any
) -> Any:
    checkpoint = {"step": 60, "path": f"{FOLDER}/0000060", "kind": "whole", "form": form}
    report = from_dict(Report, {"phase": "finished", "newest_whole": 60, "checkpoints": [checkpoint],
                                "merge": told, **changes})  # fmt: skip
    settings: Any = {"training_checkpoint_dir": FOLDER, "training_results_dir": "/srv/atlas", "run_config_ema": ema,
                     "training_lora_merge": merge}  # fmt: skip
    return result_of(report, settings, rank)


@pytest.mark.parametrize(
    ("given", "name", "why", "fetch"),
    [
        pytest.param({"ema": 0.95}, "ema.safetensors", "4% of it is the base model", "", id="an average that followed"),
        pytest.param({"ema": 0.9999}, "model.safetensors", "still 99% the base model", "model", id="one too slow"),
        pytest.param({"ema": 0.0}, "model.safetensors", "run_config_ema is 0", "model", id="no average"),
        pytest.param({"form": "lora", "merge": "never"}, "adapter.safetensors", "playbooks/merge.yml", "", id="alone"),
    ],
)
def test_the_file_to_take_is_named_with_the_reason(given: dict[str, Any], name: str, why: str, fetch: str) -> None:
    found = result(**given)
    assert found.path == f"{FOLDER}/0000060/{name}"
    assert why in found.why
    assert found.fetch == fetch


def test_adapters_are_a_model_when_they_are_merged() -> None:
    merged = result(form="lora")
    assert (merged.path, merged.fetch) == ("/srv/atlas/models/0000060", "merged")
    assert f"{FOLDER}/0000060/adapter.safetensors" in merged.why


def test_a_merge_that_is_not_done_yet_names_where_the_model_will_be() -> None:
    coming = result(form="lora", told="step 60 is not merged")
    assert (coming.path, coming.fetch) == (f"{FOLDER}/0000060/adapter.safetensors", "")
    assert "will be /srv/atlas/models/0000060" in coming.why


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"phase": "running"}, id="while it runs"),
        pytest.param({"phase": "failed"}, id="after a failure"),
        pytest.param({"newest_whole": None}, id="without a whole checkpoint"),
        pytest.param({"rank": 1}, id="on another node than the first"),
    ],
)
def test_there_is_none(given: dict[str, Any]) -> None:
    assert result(**given) is None


def test_the_line_has_the_command_that_fetches_it() -> None:
    assert (
        result(ema=0.9999)
        .lines("atlas", "-i inventory/mine playbooks/fetch.yml")
        .endswith("\n  ansible-playbook -i inventory/mine playbooks/fetch.yml --limit atlas -e training_fetch=model")
    )
    assert (
        result().lines("atlas", "canvas.fleet.fetch").endswith("\n  ansible-playbook canvas.fleet.fetch --limit atlas")
    )
