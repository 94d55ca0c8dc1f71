"""canvas_code_lean on the real trainer: its own main() holds the same shards, and writes the same files, as unpatched.

A small random model on the CPU (demo/gpu_proof/starts.py, which does the same at the real size on a GPU).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from demo.gpu_proof import starts
from demo.minicanvas.tiny_model import write_model

HERE = Path(starts.__file__).parent
OFFLOAD = ["--cpu_offload", "True"]
WRITES = "            done = os.pwrite(self.file, left, at)\n"


@pytest.fixture(scope="module", autouse=True)
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    starts.stand_in(tmp_path_factory.mktemp("packages"))
    os.environ["OMP_NUM_THREADS"] = "1"


def made(upstream: Path, folder: Path) -> Path:
    """A model folder of the real classes; its ema.safetensors and its model.safetensors differ."""
    write_model(folder / "tokenizer")
    for seed, name in enumerate(("model", "ema")):
        words = [str(upstream), str(folder / "tokenizer"), str(folder / name), "128", "2", str(seed)]
        subprocess.run([sys.executable, str(HERE / "small_model.py"), *words], check=True, capture_output=True)
    shutil.copy(folder / "model/ema.safetensors", folder / "ema/model.safetensors")
    return folder / "ema"


@pytest.fixture(scope="module")
def model(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(upstream, tmp_path_factory.mktemp("model"))


def options(upstream: Path, work: Path, model: Path, *words: str) -> Namespace:
    told = starts.options_of([str(upstream), str(work), "--model", str(model), *words])
    told.from_model = str(model)
    return told


def compared(told: Namespace) -> dict[str, Any]:
    """Both ways; fails where they differ."""
    found = {name: starts.way(told, name, Path(told.canvas), Path(told.model)) for name in ("upstream", "lean")}
    assert starts.differences(found) == []
    return found


SAVED = ["--steps", "2", "--save", "--digests", "--resume"]
CASES = {
    "full: first start, save, resume": SAVED,
    "full over two shards": ["--ranks", "2"],
    "full, two replicas of two shards": ["--ranks", "4", "--shards", "2"],
    "tied embeddings": ["--flag=--tie_word_embeddings", "--flag=True"],
    "frozen": [*SAVED, "--profile", "frozen", "--ema", "0"],
    "frozen over two shards": ["--ranks", "2", "--profile", "frozen", "--ema", "0"],
    "frozen, layers in host memory": [*SAVED, "--profile", "frozen", "--ema", "0", *(f"--flag={w}" for w in OFFLOAD)],
    "… with an EMA copy": [*SAVED, "--profile", "frozen", "--ema", "0.5", *(f"--flag={w}" for w in OFFLOAD)],
    "full, offloaded: first start": [f"--flag={w}" for w in OFFLOAD],  # upstream's save of it asks for a GPU
}


@pytest.mark.parametrize("words", CASES.values(), ids=CASES)
def test_shards_moments_and_files_are_unpatched_upstreams(
    upstream: Path, model: Path, tmp_path: Path, words: list[str]
) -> None:
    found = compared(options(upstream, tmp_path, model, *words))
    for start in ("first start", "resume, cold"):
        for rank in found["lean"].get(start, ()):
            assert rank["model"]["parts"] > 5


def test_model_and_ema_come_from_their_own_files(upstream: Path, model: Path, tmp_path: Path) -> None:
    told = options(upstream, tmp_path, model)
    lean = starts.patched(upstream, tmp_path / "lean", canvas_code_lean=True)
    plain = starts.patched(upstream, tmp_path / "plain", canvas_code_lean=False)
    flags = ["--resume_model_only", "True"]  # without finetune_from_ema: model.safetensors and ema.safetensors
    (one,), (other,) = (starts.probe(told, tree, model, {"out": ""}, flags) for tree in (plain, lean))
    assert (one["model"], one["EMA"]) == (other["model"], other["EMA"])
    assert one["model"] != one["EMA"]


def test_several_ranks_write_the_file_of_one(upstream: Path, model: Path, tmp_path: Path) -> None:
    """Upstream cannot gather on the CPU, so its file of one rank is what they are compared with."""
    one = options(upstream, tmp_path, model, "--save", "--digests")
    wanted = starts.way(one, "upstream", upstream, model)["digests"]
    for words in (["--ranks", "2"], ["--ranks", "4", "--shards", "2"]):
        found = starts.way(options(upstream, tmp_path, model, "--save", "--digests", *words), "lean", upstream, model)
        assert found["digests"] == wanted


def broken(model: Path, folder: Path, change: Any) -> Path:
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    tensors = load_file(folder / "ema.safetensors")
    change(tensors)
    save_file(tensors, folder / "ema.safetensors")
    return folder


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        pytest.param(
            lambda tensors: tensors.pop("llm2vae.bias"),
            "RuntimeError",
            "has no weights for llm2vae.bias",
            id="a tensor",
        ),
        pytest.param(
            lambda tensors: tensors.update({"llm2vae.bias": tensors["llm2vae.bias"][:3].clone()}),
            "RuntimeError",
            "size mismatch for llm2vae.bias",
            id="another shape",
        ),
        pytest.param(
            lambda tensors: tensors.pop("vit_pos_embed.pos_embed"),
            "KeyError",
            "vit_pos_embed.pos_embed",
            id="a position",
        ),
    ],
)
def test_a_file_that_lacks_something_is_refused_by_name(
    upstream: Path, model: Path, tmp_path: Path, change: Any, error: str, words: str
) -> None:
    folder = broken(model, tmp_path / "broken", change)
    told = options(upstream, tmp_path, folder)
    tree = starts.patched(upstream, tmp_path / "lean", canvas_code_lean=True)
    with pytest.raises(starts.ProofError, match=error) as refused:
        starts.probe(told, tree, folder, {"out": ""}, starts.FIRST)
    assert words in str(refused.value)


def test_a_file_that_was_cut_is_refused_in_upstreams_words(upstream: Path, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(model, folder)
    with (folder / "ema.safetensors").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 2)
    said = set()
    for lean in (False, True):
        tree = starts.patched(upstream, tmp_path / f"tree-{lean}", canvas_code_lean=lean)
        with pytest.raises(starts.ProofError) as refused:
            starts.probe(options(upstream, tmp_path, folder), tree, folder, {"out": ""}, starts.FIRST)
        said.add(str(refused.value).partition("\n")[0])
    assert len(said) == 1
    assert "SafetensorError" in said.pop()


@pytest.mark.parametrize("after", [1, 3], ids=["in the EMA's header", "in its tensors"])
def test_a_save_that_is_killed_leaves_no_file_under_its_name(
    upstream: Path, model: Path, tmp_path: Path, after: int
) -> None:
    told = options(upstream, tmp_path, model)
    tree = starts.patched(upstream, tmp_path / "lean", canvas_code_lean=True)
    utils = tree / "train/fsdp_utils.py"
    kill = f"import itertools, signal\nFLEET_WRITES = itertools.count(1)\n{utils.read_text()}"
    assert kill.count(WRITES) == 1
    ends = f"            if next(FLEET_WRITES) == {after}: os.kill(os.getpid(), signal.SIGKILL)\n"
    utils.write_text(kill.replace(WRITES, ends + WRITES))
    with pytest.raises(starts.ProofError):
        starts.probe(told, tree, model, {"out": str(tmp_path / "saved"), "step": 7}, starts.FIRST)
    assert [path.name for path in (tmp_path / "saved/0000007").iterdir()] == ["ema.safetensors.part"]


def test_a_save_on_a_full_disk_leaves_nothing(upstream: Path, model: Path, tmp_path: Path) -> None:
    tree = starts.patched(upstream, tmp_path / "lean", canvas_code_lean=True)
    utils = tree / "train/fsdp_utils.py"
    full = '            raise OSError(28, "No space left on device")\n'
    utils.write_text(utils.read_text().replace(WRITES, full))
    told = {"out": str(tmp_path / "saved"), "step": 7}
    with pytest.raises(starts.ProofError, match="No space left on device"):
        starts.probe(options(upstream, tmp_path, model), tree, model, told, starts.FIRST)
    assert list((tmp_path / "saved/0000007").iterdir()) == []


def test_the_helpers_are_in_the_way_of_no_other_start(upstream: Path, model: Path, tmp_path: Path) -> None:
    """Without a folder to load it starts from scratch, as ever, and a save of it is a whole file."""
    tree = starts.patched(upstream, tmp_path / "lean", canvas_code_lean=True)
    told = options(upstream, tmp_path, model)
    (found,) = starts.probe(told, tree, tmp_path / "nothing", {"out": str(tmp_path / "saved"), "step": 7}, starts.FIRST)
    (again,) = starts.probe(told, tree, tmp_path / "saved/0000007", {"out": ""}, ["--ema", "0.9"])
    assert found["step"] == 0
    assert again["step"] == 8
    assert json.dumps(found["model"]) != json.dumps(again["model"])  # a save rounds to bf16
