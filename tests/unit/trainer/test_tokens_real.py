"""Counting with the model's tokenizer: two files of a small vocabulary, read by the real library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.tokens import (
    MARKS,
    counter,
    text_bounds,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Bytes of ASCII, and the merges that make one token of "move" and of " move"."""
    merges = [("m", "o"), ("v", "e"), ("mo", "ve"), ("Ġ", "move")]
    letters = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ", "å", "Ŀ", "Ĺ"]
    vocabulary = {token: number for number, token in enumerate([*letters, *("".join(pair) for pair in merges)])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    special = {"7": {"content": "<|im_start|>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": special}))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        pytest.param("move move", 2, id="a blank belongs to the word behind it"),
        pytest.param("  move\n", 1, id="blanks around the text are cut first"),
        pytest.param("move 123", 5, id="the blank, and each digit, is a token of its own"),
        pytest.param("<|im_start|>move", 2, id="a mark of the model is one token"),
        pytest.param("   ", None, id="blank text is left out, with its marks"),
    ],
)
def test_texts_are_counted_as_the_trainer_does(folder: Path, text: str, tokens: int | None) -> None:
    count = counter(str(folder))
    assert count is not None
    assert count(text) == ((tokens + MARKS,) * 2 if tokens is not None else (0, 0))


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_without_both_files_nothing_is_counted(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    assert counter(str(folder)) is None


def test_without_a_folder_nothing_is_counted() -> None:
    assert counter("") is None


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        pytest.param("move move", 2, 3, id="two words, nine bytes"),
        pytest.param("a1b2", 4, 4, id="letters and digits by turns"),
        pytest.param("Don't!", 3, 3, id="a contraction and a sign are pieces"),
        pytest.param("块移动", 1, 3, id="a word of three Chinese letters"),
    ],
)
def test_estimates(text: str, least: int, most: int) -> None:
    assert text_bounds(text) == (least + MARKS, most + MARKS)


@given(content=st.text())
def test_the_lower_bound_is_never_above_the_upper_one(content: str) -> None:
    least, most = text_bounds(content)
    assert least <= most
