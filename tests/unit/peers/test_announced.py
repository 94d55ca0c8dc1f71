"""What a first node may announce: the trainer's files, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.errors import PeersError
from ansible_collections.canvas.fleet.plugins.module_utils.peers.announced import announced
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.support.saves import FILES, LORA, SHARDS

MARK = "0" * 64
GOOD: dict[str, Any] = {
    "attempt": "ab", "step": 40, "files": [{"name": name, "size": 100, "mark": MARK} for name in FILES]
}  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


ADAPTERS: dict[str, Any] = {**GOOD, "files": [{"name": name, "size": 100, "mark": MARK} for name in LORA]}


def with_file(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "files": [*GOOD["files"][:-1], {**GOOD["files"][-1], **changes}]}


def test_a_checkpoint_of_the_contract_is_taken() -> None:
    found = announced(GOOD, SHARDS, 100 * len(FILES))
    assert ([one.name for one in found.files], found.step, found.size) == (list(FILES), 40, 100 * len(FILES))


@pytest.mark.parametrize("shards", [0, 1, SHARDS, 8])
def test_adapters_have_one_optimizer_file_for_any_number_of_ranks(shards: int) -> None:
    assert [one.name for one in announced(ADAPTERS, shards).files] == list(LORA)


def test_a_run_that_begins_anew_has_no_files() -> None:
    assert announced({**GOOD, "step": None, "files": []}).step is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({**GOOD, "attempt": "../x"}, "attempt '../x'"),
        ({**GOOD, "attempt": 3}, "attempt 3"),
        ({**GOOD, "attempt": "a" * 65}, "attempt"),
        ({**GOOD, "step": 10**7}, "step 10000000"),
        ({**GOOD, "step": -1}, "step -1"),
        ({**GOOD, "step": True}, "step True"),
        ({**GOOD, "step": "40"}, "step '40'"),
        ({**GOOD, "step": 40.0}, "step 40.0"),
        ({**GOOD, "files": {}}, "no list of files"),
        ({**GOOD, "files": [[]]}, "[]"),
        ({**GOOD, "files": GOOD["files"][2:3]}, "optimizer.00000"),
        ({**GOOD, "files": [*GOOD["files"], GOOD["files"][0]]}, "ema.safetensors"),
        (with_file(name="optimizer.00002-of-00002.pt"), "optimizer.00002-of-00002.pt"),
        (with_file(name="optimizer.00000-of-00003.pt"), "optimizer.00000-of-00003.pt"),
        (with_file(name="../../../train.sh"), "the file name '../../../train.sh'"),
        (with_file(name="scheduler.pt/"), "the file name"),
        (with_file(name="optimizer.0000\u0661-of-00002.pt"), "the file name"),
        (with_file(name=None), "the file name None"),
        (with_file(size=-1), "of -1 bytes"),
        (with_file(size=1 << 31), "of 2147483648 bytes"),
        (with_file(size=1.5), "of 1.5 bytes"),
        (with_file(mark="0" * 63), "the mark"),
        (with_file(mark=None), "the mark None"),
        ({**GOOD, "files": [*GOOD["files"], ADAPTERS["files"][0]]}, "adapter.safetensors"),
        ({**ADAPTERS, "files": [ADAPTERS["files"][0], *GOOD["files"][2:]]}, "optimizer.00001-of-00002.pt"),
    ],
)  # fmt: skip
def test_what_the_contract_does_not_know_is_refused(answer: dict[str, Any], found: str) -> None:
    with pytest.raises(PeersError) as error:
        announced(answer, SHARDS)
    assert found in error.value.found


def test_a_checkpoint_of_more_shards_than_the_plan_says_is_refused() -> None:
    with pytest.raises(PeersError, match="3 parts of the optimizer"):
        announced(GOOD, 3)


def test_a_checkpoint_that_is_larger_than_the_plan_says_is_refused() -> None:
    with pytest.raises(PeersError, match="599 bytes at most"):
        announced(GOOD, SHARDS, 599)


@given(attempt=ANYTHING, step=ANYTHING, files=ANYTHING)
def test_whatever_is_announced_is_refused_or_known(attempt: Any, step: Any, files: Any) -> None:
    try:
        found = announced({"attempt": attempt, "step": step, "files": files}, SHARDS)
    except PeersError:
        return
    assert found.step is None


@given(index=st.integers(0, len(FILES) - 1), key=st.sampled_from(["name", "size", "mark"]), value=ANYTHING)
def test_one_odd_value_is_refused(index: int, key: str, value: Any) -> None:
    files = [dict(one) for one in GOOD["files"]]
    files[index][key] = value
    try:
        found = announced({**GOOD, "files": files}, SHARDS)
    except PeersError:
        return
    assert key == "size"
    assert found.files[index].size == value >= 0
