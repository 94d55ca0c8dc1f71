"""What there is to evaluate on a host, by headers alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import models as merged_models
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.choice import choose
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.found import Found, look
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec
from ansible_collections.canvas.fleet.plugins.module_utils.system import files

from tests.unit.support import models, saves


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    """A run with a whole checkpoint of the base's shapes, and a test file."""
    out = tmp_path / "out"
    models.base(tmp_path / "model")
    (tmp_path / "test.parquet").write_bytes(b"0" * 1000)
    model(out / "checkpoints/0000020")
    return Spec(mode="loss", folder=f"{out}/evaluation", code="/c", commit="c", base=str(tmp_path / "model"),
                checkpoints=f"{out}/checkpoints", kept=f"{out}/kept", results=str(out), ema=0.5,
                parquet=str(tmp_path / "test.parquet"))  # fmt: skip


def model(folder: Path, **more: tuple[int, ...]) -> None:
    """The model's files of a save, of the base's shapes and others; what is named {} is left out."""
    shapes = {**models.SHAPES, "vit_pos_embed.pos_embed": (4, 4), **more}
    for name in saves.MODEL:
        models.write(folder / name, {key: numpy.zeros(shape, "f4") for key, shape in shapes.items()}, "BF16", {})
    for name in saves.STATE:
        (folder / name).write_bytes(saves.content(name, 1))


def crossed(spec: Spec) -> Found:
    """As it arrives on the controller."""
    return wire.from_dict(Found, wire.to_dict(look(spec)))


def test_a_sound_run_has_test_file_base_and_checkpoint(spec: Spec) -> None:
    found = crossed(spec)
    assert (found.test_bytes, found.base_flaw, found.ended) == (1000, "", ())
    assert [(one.step, one.files, one.other) for one in found.saves] == [(20, saves.MODEL, "")]
    assert found.need is not None
    assert found.free > 0
    assert choose(found, spec)[1] == ()


def test_an_empty_host_is_told_and_nothing_is_raised(tmp_path: Path, spec: Spec) -> None:
    places = ("base", "checkpoints", "kept", "results", "folder", "parquet")
    bare = replace(spec, **dict.fromkeys(places, "/nowhere"))
    found = crossed(bare)
    assert (found.test_bytes, found.saves, found.need) == (None, (), None)
    assert found.base_flaw == "/nowhere/ema.safetensors is not there"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        pytest.param({"connector.fc1.bias": (25,)}, "connector.fc1.bias is 25, in the base 24", id="another width"),
        pytest.param({"a.new.layer": (2,)}, "has 1 weights that the base lacks, such as a.new.layer", id="more layers"),
        pytest.param({"vit_pos_embed.pos_embed": (9, 9)}, "", id="what the trainer makes itself"),
    ],
)
def test_weights_of_another_model_are_told_from_those_of_the_base(
    spec: Spec, more: dict[str, tuple[int, ...]], words: str
) -> None:
    model(Path(spec.checkpoints) / "0000020", **more)
    (one,) = crossed(spec).saves
    assert words in one.other if words else one.other == ""


def test_adapters_of_another_base_are_another_model_s(spec: Spec, tmp_path: Path) -> None:
    folder = Path(spec.checkpoints)
    for step, told in ((30, {}), (40, {"base_header_sha256": "0" * 64})):
        saves.save(folder, step, files=saves.LORA)
        models.adapters(folder / f"{step:07d}/adapter.safetensors", tmp_path / "model/ema.safetensors", **told)
    assert {one.step: one.other[:42] for one in crossed(spec).saves if one.form == "lora"} == {
        30: "",
        40: "adapter.safetensors was trained on a base ",
    }


def test_a_file_that_was_cut_is_none(spec: Spec) -> None:
    path = Path(spec.checkpoints) / "0000020/ema.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    (one,) = crossed(spec).saves
    assert one.files == ("model.safetensors",)
    assert [found.code for found in choose(crossed(spec), spec)[1]] == ["EVALUATION_CHECKPOINT_BROKEN"]


def test_a_merged_model_is_there_when_its_record_says_so(spec: Spec) -> None:
    made = Path(merged_models.folder_of(spec.results, 20))
    model(made)
    assert [one.form for one in crossed(spec).saves] == ["full"]
    record = merged_models.Made(20, 4, 8.0, "all", "", "", 2, 0, 0.0, 1, 1)
    files.save(made / merged_models.RECORD, wire.to_dict(record))
    assert [one.form for one in crossed(spec).saves] == ["full", "merged"]
