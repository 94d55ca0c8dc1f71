"""Copies of one shard each (nodes of one GPU): one model for all ranks with canvas_code_lean, one for each without.

By upstream's own main() on the CPU, with two ranks, a small model and made batches.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from demo.gpu_proof import starts
from tests.upstream.test_lora import FREEZE, digests
from tests.upstream.trainings import Trained, small, train

ALIKE = "FLEET_PROBE_ALIKE"  # rank 1 gets the data of rank 0
CASES = {"full": [], "full, with an EMA copy": ["--ema", "0.9"], "frozen": FREEZE}
Run = Callable[..., Trained]


@pytest.fixture(scope="module", autouse=True)
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    starts.stand_in(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def model(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(upstream, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tree(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    root = tmp_path_factory.mktemp("trees")

    @cache
    def made(case: str, lean: bool) -> Path:
        told: dict[str, Any] = {"training_profile": case.partition(",")[0], "canvas_code_lean": lean}
        told |= {} if "EMA" in case else {"run_config_ema": 0}
        return starts.patched(upstream, root / f"{case.replace(', ', '-').replace(' ', '-')}-{lean}", **told)

    return made


@pytest.fixture(scope="module")
def trained(tree: Callable[[str, bool], Path], model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One training of each kind, two copies of one shard unless said otherwise."""

    @cache
    def run(case: str, *, lean: bool = True, alike: bool = False, ranks: int = 2, shards: int = 1) -> Trained:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(ALIKE, "1") if alike else patch.delenv(ALIKE, raising=False)
            out = tmp_path_factory.mktemp("out")
            found = train(tree(case, lean), model, out, *CASES[case], ranks=ranks, shards=shards)
        assert found.code == 0, found.text[-3000:]
        return found

    return run


def files(one: Trained, step: int = 4) -> dict[str, Any]:
    """The saved model, and the EMA where it is another file."""
    return {f"{name} {key}": value for name in ("model", "ema") for key, value in one.tensors(step, name).items()}


def same(one: Trained, other: Trained) -> bool:
    left, right = files(one), files(other)
    return left.keys() == right.keys() and all(left[key].equal(right[key]) for key in left)


def apart(one: Trained, other: Trained) -> float:
    """The mean difference of two weights."""
    left, right = files(one), files(other)
    sums = [float((left[key].float() - right[key].float()).abs().sum()) for key in left]
    return sum(sums) / sum(value.numel() for value in left.values())


@pytest.mark.parametrize("case", CASES)
def test_unpatched_each_rank_trains_a_model_of_its_own(trained: Run, case: str) -> None:
    mixed, alike = (trained(case, lean=False, alike=alike) for alike in (False, True))
    first, second = digests(mixed.folder, 2)
    assert len(first) == len(second) == 2
    assert all(not set(left) & set(right) for left, right in zip(first, second, strict=True))
    assert first == digests(alike.folder, 2)[0], "rank 1's data reached rank 0"
    assert same(mixed, alike)


@pytest.mark.parametrize("case", CASES)
def test_patched_all_ranks_train_one_model_on_the_data_of_all(trained: Run, case: str) -> None:
    mixed, alike = (trained(case, alike=alike) for alike in (False, True))
    first, second = digests(mixed.folder, 2)
    assert first == second != []
    assert all(not set(one) & set(other) for one, other in zip(first, digests(alike.folder, 2)[0], strict=True))
    assert not same(mixed, alike)


@pytest.mark.parametrize("case", CASES)
def test_the_mean_of_two_equal_gradients_is_one_ranks(trained: Run, case: str) -> None:
    two, one = trained(case, alike=True), trained(case, ranks=1)
    assert digests(two.folder, 2)[1] == digests(one.folder, 1)[0] != []
    assert same(two, one)


@pytest.mark.parametrize("case", CASES)
def test_two_copies_train_as_two_shards_do(trained: Run, case: str) -> None:
    """Upstream averages those. The norm that clips is summed in another order, which Adam's first steps make larger."""
    copies, shards, alone = trained(case), trained(case, shards=2), trained(case, lean=False)
    assert sorted(copies.losses) == sorted(shards.losses) == [0, 1, 2, 3, 4]
    first = [[one.losses[step] for step in range(3)] for one in (copies, shards, alone)]
    assert first[0] == first[1] != first[2]
    assert apart(copies, shards) < apart(copies, alone) / 50


@pytest.mark.parametrize("case", CASES)
def test_after_a_resume_they_still_are_one_model(
    trained: Run, tree: Callable[[str, bool], Path], model: Path, tmp_path: Path, case: str, monkeypatch: Any
) -> None:
    """Both ranks go on from the optimizer's file of the first one; with equal data they do what one rank does."""
    found = {}
    for name, ranks, alike in (("mixed", 2, False), ("alike", 2, True), ("one", 1, False)):
        before = trained(case, alike=alike, ranks=ranks).folder / "checkpoints/0000002"
        shutil.copytree(before, tmp_path / name / "checkpoints/0000002")
        monkeypatch.setenv(ALIKE, "1") if alike else monkeypatch.delenv(ALIKE, raising=False)
        found[name] = train(tree(case, True), model, tmp_path / name, *CASES[case], ranks=ranks, shards=1)
        assert sorted(found[name].losses) == [3, 4], found[name].text[-3000:]
    first, second = digests(tmp_path / "mixed", 2)
    assert first == second != []
    assert same(found["alike"], found["one"])
    assert not same(found["mixed"], found["one"])
