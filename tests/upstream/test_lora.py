"""training_profile: lora through upstream's own main(), on the CPU with a small model and made batches."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from demo.gpu_proof import starts
from tests.upstream.trainings import Trained, small, train

RANK = 4
FREEZE = ["--freeze_llm", "True", "--freeze_vit", "True"]
LORA = [*FREEZE, "--fleet_lora_rank", str(RANK), "--fleet_lora_alpha", "8", "--lr", "0.003"]
STREAMED = ["--cpu_offload", "True"]
LAYERS = 2
ADAPTERS = 14 * LAYERS
CONNECTORS = 12  # tensors of time_embedder, vae2llm, llm2vae and connector


@pytest.fixture(scope="module", autouse=True)
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    starts.stand_in(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def model(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(upstream, tmp_path_factory.mktemp("model"), LAYERS)


@pytest.fixture(scope="module")
def trees(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("trees")
    wanted: dict[str, dict[str, Any]] = {
        "plain": {"training_profile": "lora"},
        "lean": {"training_profile": "lora", "canvas_code_lean": True},
        "fused": {"training_profile": "lora", "canvas_code_lean": True, "run_config_optimizer": "adamw_fused"},
        "frozen": {"training_profile": "frozen"},
    }
    return {name: starts.patched(upstream, root / name, **told) for name, told in wanted.items()}


@pytest.fixture(scope="module")
def one(trees: dict[str, Path], model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Steps 0 to 4 on one rank, with saves at 2 and 4."""
    found = train(trees["lean"], model, tmp_path_factory.mktemp("one"), *LORA)
    assert found.code == 0, found.text[-3000:]
    return found


def same(one: Trained, other: Trained, step: int = 4) -> bool:
    """The same values in both files, to the last bit."""
    left, right = one.tensors(step), other.tensors(step)
    return left.keys() == right.keys() and all(left[key].equal(right[key]) for key in left)


def test_it_says_what_it_loaded_and_how_far_it_went(one: Trained, model: Path) -> None:
    (adapters, parameters, rank, base), *more = one.said(
        r"canvas-fleet lora: (\d+) adapters, (\d+) parameters, rank (\d+), base (\d+) tensors loaded"
    )
    tensors = one.tensors(4)
    assert not more
    assert (int(adapters), int(rank)) == (ADAPTERS, RANK)
    assert int(parameters) == sum(value.numel() for key, value in tensors.items() if ".lora_" in key)
    from safetensors import safe_open

    with safe_open(model / "ema.safetensors", "pt") as file:
        assert int(base) == len(set(file.keys()) - {"latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed"})
    first, second = (float(size) for size in one.said(r"canvas-fleet lora: \|B\| = (\S+)"))
    assert 0 < first < second


def test_a_checkpoint_is_adapters_and_connectors_in_fp32(one: Trained, model: Path) -> None:
    folder = one.folder / "checkpoints/0000004"
    names = ["adapter.safetensors", "data_status.pt", "optimizer.00000-of-00001.pt", "scheduler.pt"]
    assert sorted(path.name for path in folder.iterdir()) == names
    tensors = one.tensors(4)
    assert len(tensors) == 2 * ADAPTERS + CONNECTORS
    assert {str(value.dtype) for value in tensors.values()} == {"torch.float32"}
    from safetensors import safe_open
    from safetensors.torch import load_file

    base = load_file(model / "ema.safetensors")
    for key, value in tensors.items():
        name, _, part = key.partition(".lora_")
        width = base[f"{name}.weight"].shape if part else value.shape
        wanted = {"A": (RANK, width[-1]), "B": (width[0], RANK), "": tuple(base[key].shape) if not part else ()}
        assert tuple(value.shape) == wanted[part], key
        assert part == "A" or value.abs().sum() > 0, f"{key} did not move"
    with safe_open(folder / "adapter.safetensors", "pt") as file:
        said = file.metadata()
    raw = (model / "ema.safetensors").read_bytes()
    header = raw[8 : 8 + int.from_bytes(raw[:8], "little")]
    import hashlib

    digest = hashlib.sha256(header).hexdigest()
    shape = {"rank": str(RANK), "alpha": "8.0", "targets": "all", "connectors": "true"}
    assert said == {**shape, "base_header_sha256": digest}


def test_the_first_loss_is_the_bases_and_it_falls(
    one: Trained, trees: dict[str, Path], model: Path, tmp_path: Path
) -> None:
    base = train(trees["frozen"], model, tmp_path, *FREEZE, steps=0)
    assert one.losses[0] == base.losses[0]
    longer = train(trees["lean"], model, tmp_path / "on", *LORA, "--save_every", "100", steps=20)
    first, last = (dict(longer.losses[step]) for step in (0, 20))
    assert last["ce"] < first["ce"] - 0.5
    assert len(longer.said(r"\|B\| = ")) == 1  # without a save it is said at step 20


@pytest.mark.parametrize(
    ("tree", "words", "ranks"),
    [
        pytest.param("plain", [], 1, id="without the lean start"),
        pytest.param("lean", STREAMED, 1, id="layers in host memory"),
        pytest.param("plain", STREAMED, 1, id="… without the lean start"),
    ],
)
def test_each_way_to_hold_the_base_trains_the_same(
    one: Trained, trees: dict[str, Path], model: Path, tmp_path: Path, tree: str, words: list[str], ranks: int
) -> None:
    other = train(trees[tree], model, tmp_path, *LORA, *words, ranks=ranks)
    assert other.losses == one.losses, other.text[-3000:]
    assert same(one, other)


def digests(folder: Path, ranks: int) -> list[Any]:
    lines = [(folder / f"report.{rank}").read_text().splitlines() for rank in range(ranks)]
    return [[one["digest"] for line in text if (one := json.loads(line))["phase"] == "save"] for text in lines]


def test_ranks_hold_the_same_adapters_sharded_or_streamed(trees: dict[str, Path], model: Path, tmp_path: Path) -> None:
    sharded = train(trees["lean"], model, tmp_path / "sharded", *LORA, ranks=2)
    streamed = train(trees["lean"], model, tmp_path / "streamed", *LORA, *STREAMED, ranks=2)
    assert sharded.losses == streamed.losses != {}, sharded.text[-3000:] + streamed.text[-3000:]
    assert same(sharded, streamed)
    for folder in (sharded.folder, streamed.folder):
        left, right = digests(folder, 2)
        assert left == right != []
    # … and a checkpoint of two ranks goes on with one.
    alone = train(trees["lean"], model, sharded.folder, *LORA, steps=6)
    assert min(alone.losses) == 5, alone.text[-3000:]


def test_two_ranks_train_on_the_mean_of_both(trees: dict[str, Path], model: Path, tmp_path: Path) -> None:
    """With the same batch on both ranks they do what one rank does; `--made-alike` gives it to them."""
    os.environ["FLEET_PROBE_ALIKE"] = "1"
    try:
        alone, both = (train(trees["lean"], model, tmp_path / str(n), *LORA, ranks=n, steps=2) for n in (1, 2))
    finally:
        del os.environ["FLEET_PROBE_ALIKE"]
    assert alone.losses == both.losses, both.text[-3000:]
    left, right = alone.tensors(2), both.tensors(2)
    assert all((left[key] - right[key]).abs().max() < 1e-5 for key in left)


@pytest.mark.parametrize(
    "words", [[], STREAMED, ["--fleet_lora_dropout", "0.1"]], ids=["resident", "streamed", "dropout"]
)
def test_a_resume_goes_on_as_if_nothing_had_happened(
    trees: dict[str, Path], model: Path, tmp_path: Path, words: list[str]
) -> None:
    whole = train(trees["fused"], model, tmp_path / "whole", *LORA, *words, "--fleet_optimizer", "adamw_fused")
    for steps in (2, 4):
        parts = train(
            trees["fused"], model, tmp_path / "parts", *LORA, *words, "--fleet_optimizer", "adamw_fused", steps=steps
        )
    assert parts.losses == {step: whole.losses[step] for step in (3, 4)}, parts.text[-3000:]
    assert same(whole, parts)
    loaded = parts.said(r"Loading checkpoint from (\S+)\.\n")
    assert loaded == [str(model), str(tmp_path / "parts/checkpoints/0000002")]


def test_attention_alone_and_without_connectors(trees: dict[str, Path], model: Path, tmp_path: Path) -> None:
    words = ["--fleet_lora_targets", "attention", "--fleet_lora_connectors", "False"]
    found = train(trees["lean"], model, tmp_path, *LORA, *words, steps=2)
    keys = found.tensors(2).keys()
    assert len(keys) == 2 * 8 * LAYERS, found.text[-3000:]
    assert all(".self_attn." in key for key in keys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["--fleet_lora_rank", "8"], "has rank 4, not 8", id="another rank"),
        pytest.param(["--fleet_lora_alpha", "9"], "has alpha 8.0, not 9.0", id="another alpha"),
        pytest.param(["--fleet_lora_targets", "attention"], "has targets all, not attention", id="other targets"),
        pytest.param(["--fleet_lora_connectors", "False"], "has connectors true, not false", id="no connectors"),
    ],
)
def test_a_checkpoint_of_another_shape_is_refused(
    one: Trained, trees: dict[str, Path], model: Path, words: list[str], message: str
) -> None:
    found = train(trees["lean"], model, one.folder, *LORA, *words, steps=6)
    assert found.code != 0
    assert message in found.text


def test_a_start_without_its_base_is_refused(trees: dict[str, Path], model: Path, tmp_path: Path) -> None:
    nothing = train(trees["lean"], model, tmp_path / "a", *LORA, "--resume_from", str(tmp_path / "nothing"))
    assert "nothing is not " in nothing.text
    assert nothing.code != 0
    broken = tmp_path / "model"
    broken.mkdir()
    for path in model.iterdir():
        (broken / path.name).symlink_to(path)
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "ema.safetensors")
    del tensors["language_model.model.norm_moe_gen.weight"]
    (broken / "ema.safetensors").unlink()
    save_file(tensors, broken / "ema.safetensors")
    lacking = train(trees["plain"], broken, tmp_path / "b", *LORA)
    assert "has no weights for ['language_model.model.norm_moe_gen.weight']" in lacking.text
    assert lacking.code != 0
