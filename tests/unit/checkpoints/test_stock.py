"""Merged models and exports are counted, with what they alone hold of the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.stock import Stock, stock
from ansible_collections.canvas.fleet.plugins.module_utils.system import folders

from tests.unit.support.exported import Run


def test_what_an_export_shares_with_its_checkpoint_it_does_not_hold_alone(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert stock(str(run.out)) == Stock()
    run.make()
    shared = stock(str(run.out))
    assert (shared.models, shared.exports, shared.much) == (0, 1, False)
    assert shared.bytes < (run.made("0000040-ema") / "ema.safetensors").stat().st_size
    folders.remove_tree(run.place.folder(40))
    assert stock(str(run.out)).bytes - shared.bytes == (run.made("0000040-ema") / "ema.safetensors").stat().st_size


def test_a_merged_model_and_its_export_count_their_bytes_once(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.adapters(60, merge=True)
    before = stock(str(run.out)).bytes
    run.make()
    after = stock(str(run.out))
    assert (after.models, after.exports) == (1, 1)
    assert after.bytes - before < run.base.stat().st_size / 2


@pytest.mark.parametrize(
    ("found", "much", "words"),
    [
        (Stock(1, 1, 5), False, "1 merged model and 1 export, 5 B"),
        (Stock(1, 2, 10**9), True, "1 merged model and 2 exports, 1.0 GB"),
        (Stock(3, 0, 0), True, "3 merged models, 0 B"),
    ],
)
def test_more_than_a_model_and_its_export_are_many(found: Stock, much: bool, words: str) -> None:
    assert found.much is much
    assert words in found.words()
