"""What is evaluated: steps, files, the rule which file is the model, and digests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.models import Made
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import subjects
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec

from tests.unit.evaluation.conftest import SHAPES, weights

ADAPTERS = {
    "language_model.model.layers.0.self_attn.k_proj.lora_A": (2, 4),
    "language_model.model.layers.0.self_attn.k_proj.lora_B": (2, 2),
}


def saved(spec: Spec, step: int, *names: str) -> None:
    for name in names or ("ema", "model"):
        weights(Path(spec.checkpoints) / f"{step:07d}/{name}.safetensors", SHAPES)


def adapted(spec: Spec, step: int) -> None:
    metadata = {"rank": "2", "alpha": "4.0", "targets": "all", "connectors": "false", "base_header_sha256": "a" * 64}
    weights(Path(spec.checkpoints) / f"{step:07d}/adapter.safetensors", ADAPTERS, "F32", **metadata)


def merged(spec: Spec, step: int) -> None:
    folder = Path(spec.results) / f"models/{step:07d}"
    weights(folder / "ema.safetensors", SHAPES)
    made = Made(step, 2, 4.0, "all", "a" * 64, "b" * 64, 1, 0, 0.0, 1, 1)
    (folder / "MERGED.json").write_text(json.dumps(wire.to_dict(made)))


def found(spec: Spec, step: str, **changes: object) -> list[str]:
    return [one.name for one in subjects.find(replace(spec, step=step, **changes))]  # type: ignore[arg-type]


def test_every_word_and_number_has_its_subjects(spec: Spec) -> None:
    saved(spec, 510)
    saved(spec, 1530)
    assert found(spec, "newest") == ["base", "0001530"]
    assert found(spec, "510") == ["base", "0000510"]
    assert found(spec, "all") == ["base", "0000510", "0001530"]
    assert found(spec, "base") == ["base"]
    assert found(spec, "newest", compare_base=False) == ["0001530"]


def test_adapters_stand_beside_the_base_and_merged_models_alone(spec: Spec) -> None:
    adapted(spec, 40)
    merged(spec, 40)
    assert found(spec, "all") == ["base", "0000040", "0000040-merged"]
    adapter, whole = subjects.find(replace(spec, step="all"))[1:]
    assert (adapter.path, Path(adapter.weights).name) == (f"{spec.base}/ema.safetensors", "adapter.safetensors")
    assert (whole.path, whole.adapter) == (f"{spec.results}/models/0000040/ema.safetensors", "")
    assert found(spec, "merged") == ["base", "0000040-merged"]


@pytest.mark.parametrize(
    ("ema", "step", "file"),
    [
        pytest.param(0.995, 1530, "ema", id="the usual one"),
        pytest.param(0.9999, 1530, "model", id="an average that is still the base"),
        pytest.param(0.0, 1530, "model", id="no average"),
    ],
)
def test_auto_takes_the_file_that_is_the_model(spec: Spec, ema: float, step: int, file: str) -> None:
    saved(spec, step)
    (one,) = subjects.find(replace(spec, ema=ema, compare_base=False))
    assert Path(one.path).name == f"{file}.safetensors"


def test_a_file_by_name(spec: Spec) -> None:
    saved(spec, 40)
    chosen = [subjects.find(replace(spec, weights=name, compare_base=False))[0].path for name in ("ema", "model")]
    assert [Path(one).name for one in chosen] == ["ema.safetensors", "model.safetensors"]


def test_what_is_not_whole_is_no_subject(spec: Spec) -> None:
    saved(spec, 510)
    saved(spec, 1530)
    path = Path(spec.checkpoints) / "0001530/ema.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert found(spec, "newest") == ["base", "0000510"]
    with pytest.raises(FleetError, match="510"):
        found(spec, "1530")


@pytest.mark.parametrize("step", ["1020", "newest", "merged", "none"])
def test_what_is_not_there_is_refused_with_what_is(spec: Spec, step: str) -> None:
    if step != "newest":
        saved(spec, 510)
    with pytest.raises(FleetError) as refused:
        found(spec, step)
    assert ("510" if step != "newest" else "none") in refused.value.expected


def test_without_base_nothing_is_evaluated(spec: Spec) -> None:
    (Path(spec.base) / "ema.safetensors").unlink()
    with pytest.raises(FleetError, match="base"):
        found(spec, "newest")


def test_a_digest_sees_a_change_anywhere_in_a_small_file(spec: Spec) -> None:
    saved(spec, 40)
    (one,) = subjects.find(replace(spec, compare_base=False))
    path, before = Path(one.path), subjects.digest(one)
    data = bytearray(path.read_bytes())
    assert subjects.digest(one) == before
    for place in (len(data) // 2, len(data) - 1):
        data[place] ^= 1
        path.write_bytes(data)
        assert subjects.digest(one) != before
        data[place] ^= 1
