"""training_profile: frozen on the real trainer's modules: what fails unpatched works patched, and computes the same."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import patch as patches
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import patch_table

from tests.upstream.conftest import HERE, copy_tree, patch_tree

CONNECTORS = 35_200  # parameters of vae2llm, llm2vae, time_embedder and connector in the small model
ALL = 335_840


@dataclasses.dataclass
class Trees:
    plain: Path
    patched: Path


@pytest.fixture(scope="module")
def trees(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Trees:
    root = tmp_path_factory.mktemp("trees")
    found = Trees(copy_tree(upstream, root / "plain"), copy_tree(upstream, root / "patched"))
    patch_tree(found.patched, "frozen")
    return found


def steps(tree: Path, out: Path, *, ranks: int = 1, **told: Any) -> dict[str, Any]:
    """What the steps came to on rank 0."""
    given = {"frozen": True, "ema": 0.0, "copy": False, "offload": False, "resume": None, "out": str(out), **told}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "2"}
    running = [
        subprocess.Popen(
            [sys.executable, str(HERE / "steps.py")],
            cwd=tree,
            env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    for one in running:
        assert one.stdin
        one.stdin.write(json.dumps(given))
        one.stdin.close()
        one.stdin = None
    answers = [one.communicate(timeout=300) for one in running]
    assert answers[0][0], answers[0][1][-3000:]
    found: dict[str, Any] = json.loads(answers[0][0])
    return found


def tensors(folder: Path, name: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / f"{name}.safetensors"))


def differing(folder: Path) -> set[str]:
    """Parts of the model in which model and EMA differ."""
    model, ema = tensors(folder, "model"), tensors(folder, "ema")
    assert model.keys() == ema.keys()
    return {name.split(".")[0] for name in model if not model[name].equal(ema[name])}


def test_the_patches_fit_the_real_files_and_go_back(trees: Trees, tmp_path: Path) -> None:
    for path in patch_table.paths():
        plain, patched = ((tree / path).read_bytes() for tree in (trees.plain, trees.patched))
        assert plain != patched
        assert patches.stripped(patch_table.known(path), patched) == plain
        compile(patched, path, "exec")


def test_unpatched_it_fails_as_told(trees: Trees, tmp_path: Path) -> None:
    failed = steps(trees.plain, tmp_path, copy=True)
    assert failed["error"] == "ValueError"
    assert "Must flatten tensors with uniform `requires_grad`" in failed["message"]


@pytest.fixture(scope="module")
def frozen(trees: Trees, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("frozen")
    return steps(trees.patched, out), out / "0000003"


def test_patched_it_trains_the_connectors_alone(frozen: tuple[dict[str, Any], Path]) -> None:
    found = frozen[0]["ok"]
    assert (found["trained"], found["states"], found["frozen"], found["streamed"]) == (CONNECTORS, 4, ["bfloat16"], 0)


def test_without_an_ema_copy_the_ema_file_is_the_model(frozen: tuple[dict[str, Any], Path]) -> None:
    folder = frozen[1]
    names = ["data_status.pt", "ema.safetensors", "model.safetensors", "optimizer.00000-of-00001.pt", "scheduler.pt"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / "ema.safetensors").samefile(folder / "model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors(folder, "ema").values()} == {"torch.bfloat16"}


def test_streamed_layers_compute_the_same_and_resume_each_other(
    trees: Trees, frozen: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    streamed = steps(trees.patched, tmp_path, offload=True)["ok"]
    assert streamed["streamed"] == 5
    assert streamed["losses"] == frozen[0]["ok"]["losses"]
    folder = tmp_path / "0000003"
    assert all(tensor.equal(tensors(folder, "model")[name]) for name, tensor in tensors(frozen[1], "model").items())
    onward = [
        steps(trees.patched, tmp_path / str(number), offload=offload, resume=str(source))["ok"]["losses"]
        for number, (source, offload) in enumerate([(frozen[1], False), (frozen[1], True), (folder, False)])
    ]
    assert onward[0] == onward[1] == onward[2] != frozen[0]["ok"]["losses"]


@pytest.mark.parametrize("offload", [False, True], ids=["on the GPU", "streamed"])
def test_an_ema_copy_moves_where_something_is_trained(
    trees: Trees, frozen: tuple[dict[str, Any], Path], tmp_path: Path, offload: bool
) -> None:
    found = steps(trees.patched, tmp_path, ema=0.995, copy=True, offload=offload)["ok"]
    assert found["losses"] == frozen[0]["ok"]["losses"]
    assert differing(tmp_path / "0000003") == {"connector", "llm2vae", "time_embedder", "vae2llm"}


def test_two_ranks_share_it(trees: Trees, tmp_path: Path) -> None:
    found = steps(trees.patched, tmp_path, ranks=2)["ok"]
    assert found["trained"] == CONNECTORS // 2


def test_full_training_computes_the_same_with_the_patches(trees: Trees, tmp_path: Path) -> None:
    told = {"frozen": False, "ema": 0.995, "copy": True}
    plain = steps(trees.plain, tmp_path / "a", **told)["ok"]
    patched = steps(trees.patched, tmp_path / "b", **told)["ok"]
    assert plain["losses"] == patched["losses"]
    assert plain["trained"] == patched["trained"] == ALL
    assert "language_model" in differing(tmp_path / "b/0000003")
