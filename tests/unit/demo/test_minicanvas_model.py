"""The demo's model folder: nine files, a tokenizer, and what the weights know."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.support.places import ROOT

TRAINER = ROOT / "demo/minicanvas/BAGEL-Canvas"
sys.path.insert(0, str(TRAINER))

from modeling.tokenizer import Tokenizer  # noqa: E402

from demo.minicanvas import prior, tiny_model  # noqa: E402


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model.write_model(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(model: Path) -> Tokenizer:
    return Tokenizer.from_folder(model)


# tokenizer and model folder


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=40))
def test_text_comes_back_from_its_tokens(text: str, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & set(tokenizer.special.values())


def test_words_of_the_puzzles_are_one_token(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode(" the red cube moves forward")) == 5


def tensors_of(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__")
    return header, content[8 + size :]


def test_the_model_folder_has_the_nine_files_and_the_counted_parameters(model: Path, tmp_path: Path) -> None:
    count = tiny_model.write_model(tmp_path)
    assert sorted(file.name for file in model.iterdir()) == sorted(tiny_model.FILES)
    header, body = tensors_of(model / "ema.safetensors")
    assert sum(int(np.prod(tensor["shape"])) for tensor in header.values()) == count == 377714
    assert {tensor["dtype"] for tensor in header.values()} == {"BF16"}
    assert max(tensor["data_offsets"][1] for tensor in header.values()) == len(body) == 2 * count
    for file in model.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), "the same bytes each time"


def test_safetensors_itself_reads_the_folder(model: Path) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(model / "ae.safetensors")
    assert np.allclose(tensors["encoder.weight"] @ tensors["encoder.weight"].T, np.eye(18), atol=1e-5)


def test_loading_the_model_is_worth_well_over_a_nat(tokenizer: Tokenizer) -> None:
    known = prior.log_frequencies(prior.labels(tokenizer), tiny_model.LLM_CONFIG["vocab_size"])
    assert np.isclose(np.exp(known).sum(), 1)
    entropy = -(np.exp(known) * known).sum()
    assert entropy < np.log(tiny_model.LLM_CONFIG["vocab_size"]) - 1.5


def test_the_base_model_knows_what_follows_a_token_but_no_answer(tokenizer: Tokenizer) -> None:
    """Each letter follows "Option" alike, so only a picture can tell which."""
    pairs = prior.labels(tokenizer)
    rng = np.random.default_rng(1)
    embedded = rng.standard_normal((tiny_model.LLM_CONFIG["vocab_size"], tiny_model.LLM_CONFIG["hidden_size"])) * 0.2
    weights = prior.followers(pairs, embedded, rng)
    start, option = tokenizer.token_id("<|im_start|>"), tokenizer.encode("Option A")[0]
    logits = weights @ (embedded[start] / np.sqrt((embedded[start] ** 2).mean()))
    assert logits.argmax() == option
    letters = [tokenizer.encode(f"Option {letter}")[1] for letter in "ABCD"]
    logits = weights @ (embedded[option] / np.sqrt((embedded[option] ** 2).mean()))
    assert set(np.argsort(logits)[-4:]) == set(letters)


def test_one_head_of_each_layer_looks_at_pictures_alone() -> None:
    width, heads = 96, 4
    rng = np.random.default_rng(2)
    weight, bias = rng.standard_normal((3 * width, width)) * 0.06, np.zeros(3 * width)
    prior.look_at_pictures(weight, bias, heads)
    patch, text = prior.sinusoids(np.arange(12), width, 100.0), rng.standard_normal((12, width)) * 0.2
    rows = np.concatenate([patch, text])
    rows /= np.sqrt((rows**2).mean(axis=1, keepdims=True))
    query, key, _ = (rows @ weight.T + bias).reshape(24, 3, heads, -1)[:, :, 0].transpose(1, 0, 2)
    scores = query @ key.T / np.sqrt(width // heads)
    assert scores[:, :12].min() > scores[:, 12:].max()
    assert scores[:, :12].mean() > scores[:, 12:].mean() + 10


@settings(deadline=None)
@given(size=st.floats(2.0**-100, 2.0**100, width=32), sign=st.sampled_from([-1, 1]))
def test_bfloat16_is_the_nearest(size: float, sign: int) -> None:
    value = sign * size
    bits = int.from_bytes(tiny_model._bf16(np.array([value])), "little")
    below, near, above = (np.array([(bits + step) << 16], "<u4").view("<f4")[0] for step in (-1, 0, 1))
    assert abs(near - value) <= min(abs(below - value), abs(above - value))
