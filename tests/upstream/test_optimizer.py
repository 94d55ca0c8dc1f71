"""run_config_optimizer and run_config_ema: 0 of a full training, through upstream's own main() on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from demo.gpu_proof import starts
from tests.upstream.trainings import Trained, small, train

FULL = ["--lr", "0.0003", "--ema", "0"]
STAND_IN = """\
import sys
import torch


class AdamW8bit(torch.optim.AdamW):
    def __init__(self, params, lr, betas, eps, weight_decay):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        print("AdamW8bit", lr, betas, eps, file=sys.stderr)
"""
FUSED = ["--fleet_optimizer", "adamw_fused"]


@pytest.fixture(scope="module", autouse=True)
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    starts.stand_in(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def model(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(upstream, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def trees(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("trees")
    wanted: dict[str, dict[str, Any]] = {
        "plain": {},
        "no EMA": {"run_config_ema": 0},
        "fused": {"run_config_ema": 0, "run_config_optimizer": "adamw_fused", "canvas_code_lean": True},
    }
    return {name: starts.patched(upstream, root / name.replace(" ", ""), **told) for name, told in wanted.items()}


@pytest.fixture(scope="module")
def plain(trees: dict[str, Path], model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    found = train(trees["plain"], model, tmp_path_factory.mktemp("plain"), *FULL)
    assert found.code == 0, found.text[-3000:]
    return found


def apart(one: Trained, other: Trained, step: int = 4) -> float:
    """The largest difference of two saved models."""
    left, right = one.tensors(step, "model"), other.tensors(step, "model")
    return max(float((left[key].float() - right[key].float()).abs().max()) for key in left)


def test_without_the_copy_the_model_is_the_same_and_has_both_names(
    plain: Trained, trees: dict[str, Path], model: Path, tmp_path: Path
) -> None:
    found = train(trees["no EMA"], model, tmp_path, *FULL)
    assert found.losses == plain.losses, found.text[-3000:]
    assert apart(found, plain) == 0
    folder = tmp_path / "checkpoints/0000004"
    assert (folder / "ema.safetensors").samefile(folder / "model.safetensors")
    assert found.said("_IncompatibleKeys") == ["_IncompatibleKeys"]  # one model is read, where upstream reads two


def test_fused_has_the_losses_of_upstreams_and_stays_fused(
    plain: Trained, trees: dict[str, Path], model: Path, tmp_path: Path
) -> None:
    whole = train(trees["fused"], model, tmp_path / "whole", *FULL, *FUSED)
    assert whole.losses == plain.losses, whole.text[-3000:]
    assert apart(whole, plain) < 1e-3  # a step of bf16
    for steps in (2, 4):
        parts = train(trees["fused"], model, tmp_path / "parts", *FULL, *FUSED, steps=steps)
    assert set(parts.losses) == {3, 4}, parts.text[-3000:]
    assert fused(tmp_path / "parts/checkpoints/0000004") is True


def fused(folder: Path) -> Any:
    import torch

    state = torch.load(folder / "optimizer.00000-of-00001.pt", weights_only=True)
    return state["param_groups"][0]["fused"]


def test_a_checkpoint_of_upstreams_optimizer_goes_on_fused_and_back(
    trees: dict[str, Path], model: Path, tmp_path: Path
) -> None:
    first = train(trees["no EMA"], model, tmp_path, *FULL, steps=2)
    assert fused(tmp_path / "checkpoints/0000002") is None, first.text[-3000:]
    second = train(trees["fused"], model, tmp_path, *FULL, *FUSED, steps=4)
    assert fused(tmp_path / "checkpoints/0000004") is True, second.text[-3000:]
    third = train(trees["fused"], model, tmp_path, *FULL, steps=6)  # the flag's default is upstream's
    assert third.code == 0, third.text[-3000:]
    assert fused(tmp_path / "checkpoints/0000006") is None


def test_eight_bits_without_bitsandbytes_are_refused_by_the_variable(
    trees: dict[str, Path], model: Path, tmp_path: Path
) -> None:
    found = train(trees["fused"], model, tmp_path, *FULL, "--fleet_optimizer", "adamw_8bit", steps=0)
    assert "run_config_optimizer adamw_8bit: bitsandbytes cannot be imported" in found.text
    assert found.code != 0


def test_eight_bits_get_the_same_settings_and_resume(
    trees: dict[str, Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for bitsandbytes, whose kernels need a GPU: that the real one trains is not shown here."""
    package = tmp_path / "site/bitsandbytes"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "optim.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", f"{os.environ['PYTHONPATH']}:{tmp_path / 'site'}")
    words = [*FULL, "--fleet_optimizer", "adamw_8bit"]
    whole = train(trees["fused"], model, tmp_path / "whole", *words)
    for steps in (2, 4):
        parts = train(trees["fused"], model, tmp_path / "parts", *words, steps=steps)
    assert parts.said(r"AdamW8bit 0\.0003 \(0\.9, 0\.95\) 1e-15"), parts.text[-3000:]
    assert whole.losses[3]
    assert set(parts.losses) == {3, 4}
