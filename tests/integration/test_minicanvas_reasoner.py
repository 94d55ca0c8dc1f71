"""Each trap of upstream's reasoner: what the demo's own script does in it, and what an evaluation does instead.

Needs an interpreter with torch, named by MINICANVAS_PYTHON, as test_minicanvas.py does.
"""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder, rows
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.folder import Place
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec
from PIL import Image

from demo.minicanvas.bpe import trainer_module
from tests.integration.minicanvas_evaluation import (
    DRIVE,
    FEW,
    ROWS,
    ended,
    made_of,
    output_of,
    spec_of,
    start,
    write_deeper_model,
)
from tests.integration.minicanvas_run import GROUP, PYTHON, Run
from tests.integration.minicanvas_script import ITERATIONS, SAYS_SIZES, Script, Waited

pytestmark = pytest.mark.skipif(not PYTHON, reason="MINICANVAS_PYTHON names no interpreter with torch")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, made: Path) -> Run:
    """A deployment that prints the sizes of the pictures it looks at: for the autoencoder, then for the ViT."""
    run = Run(tmp_path_factory.mktemp("deployed"), made)
    with (run.code / "inferencer.py").open("a") as file:
        file.write(SAYS_SIZES)
    return run


@pytest.fixture
def script(tmp_path: Path, run: Run) -> Script:
    return Script(tmp_path, run)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Waited:
    """The script with five questions on two ranks."""
    return Script(tmp_path_factory.mktemp("two"), run).until_it_waits(2, ROWS, ROWS)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Spec:
    asked = spec_of(run, tmp_path_factory.mktemp("evaluation"))
    return replace(asked, mode="answers", step="base", gpus=2, generation={**FEW, "max_iterations": ITERATIONS})


@pytest.fixture(scope="module")
def output(spec: Spec) -> str:
    """Of an evaluation of five rows by two processes."""
    process = start(DRIVE, spec)
    output = output_of(process, 90)
    assert process.returncode == 0, output[-3000:]
    return output


def place_in(path: str) -> Place:
    return Place(path, folder.BASE, "answers")


def texts_in(place: Place) -> dict[int, int]:
    """How many texts each row's solution has."""
    return {one.row: len(one.parts) for one in folder.rows_in(place) if not one.error}


# slices


def test_the_script_waits_for_a_rank_that_has_no_row_left(two_ranks: Waited) -> None:
    assert two_ranks.waits, two_ranks.output
    assert sorted(two_ranks.script.answered()) == list(range(ROWS))


def test_the_script_never_comes_to_the_rows_behind_a_rank_that_has_left(script: Script) -> None:
    """Four rows on three ranks are slices of 2, 2 and 0: of each slice the second row is lost."""
    assert script.until_it_waits(3, 4, 2).waits, script.output
    assert sorted(script.answered()) == [0, 2]


def test_an_evaluation_with_unequal_shares_answers_every_row_and_ends(spec: Spec, output: str) -> None:
    assert output.count("loads ") == 2, "a process for each share"
    assert made_of(output)["subjects"] == {"base": ROWS}
    assert texts_in(place_in(spec.folder)) == dict.fromkeys(range(ROWS), ITERATIONS)


# another run


def test_the_script_ends_with_other_arguments_while_a_rank_waits(two_ranks: Waited) -> None:
    script = two_ranks.script
    before = script.answered()
    assert script(2, max_iterations=1) == 1
    assert "ERROR: Argument mismatch!" in script.output
    assert re.search(r"rank +: 1 .*\n +exitcode +: -15 ", script.output), "torchrun had to end the other rank"
    assert script.answered() == before


def test_an_evaluation_with_other_settings_begins_anew_and_ends(spec: Spec, output: str, tmp_path: Path) -> None:
    place = place_in(str(tmp_path / "evaluation"))
    shutil.copytree(spec.folder, place.folder)
    assert len(texts_in(place)) == ROWS
    changes = {"generation": {**FEW, "max_iterations": 1}, "rows": 2, "gpus": 1}
    assert ended(start(DRIVE, spec, folder=place.folder, **changes))["changed"]
    assert texts_in(place) == {0: 1, 1: 1}, "no row of the first settings is left"


# sizes of pictures


def sizes_in(output: str) -> set[tuple[int, ...]]:
    return {tuple(int(word) for word in found.split()) for found in re.findall(r"^SIZES (.*)$", output, re.MULTILINE)}


@pytest.fixture(scope="module")
def trained(made: Path) -> set[tuple[int, ...]]:
    """What a training's loader makes of the same pictures, by its yaml."""
    group = yaml.safe_load(GROUP)["interleave_reasoning"]
    transform = trainer_module("data/tokens.py").ImageTransform
    vae, vit = (transform(**group[f"{name}image_transform_args"]) for name in ("", "vit_"))
    questions = rows.read(str(made / "output/test_split.parquet"))
    pictures = [image["bytes"] for row in questions for image in row["question_images"]]
    edges = {Image.open(io.BytesIO(picture)).size for picture in pictures}
    return {(*vae.size(*size), *vit.size(*size)) for size in edges}


def test_the_script_looks_at_larger_pictures_than_were_trained(
    two_ranks: Waited, trained: set[tuple[int, ...]]
) -> None:
    found = sizes_in(two_ranks.output)
    assert found
    assert all(min(max(size[:2]), max(size[2:])) > 518 for size in found), found
    assert not found & trained


def test_an_evaluation_looks_at_pictures_as_they_were_trained(output: str, trained: set[tuple[int, ...]]) -> None:
    found = sizes_in(output)
    assert found == trained
    assert max(edge for size in found for edge in size) <= 518


# weights


def test_the_script_answers_with_a_part_of_another_models_weights(script: Script, tmp_path: Path) -> None:
    write_deeper_model(tmp_path / "other/0000010")
    changes = {"checkpoint_dir": tmp_path / "other/0000010", "checkpoint_file": "model.safetensors"}
    assert script(1, 1, **changes) == 0, script.output
    assert list(script.answered()) == [0]


def test_an_evaluation_refuses_a_checkpoint_of_another_model_by_name(spec: Spec, tmp_path: Path) -> None:
    write_deeper_model(tmp_path / "other/0000010")
    asked = {"mode": "loss", "step": "newest", "compare_base": False, "gpus": 0}
    process = start(DRIVE, spec, folder=str(tmp_path / "made"), checkpoints=str(tmp_path / "other"), **asked)
    output = output_of(process, 90)
    assert process.returncode != 0
    assert "another model" in output
    assert "layers.2" in output
