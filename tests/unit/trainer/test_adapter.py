"""The header of adapter.safetensors: what it says of the adapters, and what is none."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.adapter import Adapter, adapter_of, layers_of
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.average import base_share
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.checkpoint import form_of, is_of_a_save, shards_of
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.safetensors import Header, Tensor

BASE = "0123456789abcdef" * 4
SAYS = {"rank": "4", "alpha": "8.0", "targets": "all", "connectors": "True", "base_header_sha256": BASE}
LOW, HIGH = Tensor("F32", (4, 24), (0, 384)), Tensor("F32", (33, 4), (384, 912))
LAYER = {"a.q_proj.lora_A": LOW, "a.q_proj.lora_B": HIGH}
TWO = {**LAYER, "a.k_proj.lora_A": LOW, "a.k_proj.lora_B": HIGH, "vae2llm.weight": Tensor("F32", (2, 2), (0, 16))}


def header(tensors: Mapping[str, Tensor] = TWO, **says: str) -> Header:
    return Header(dict(tensors), 1000, metadata={**SAYS, **says})


def test_what_it_says() -> None:
    found = adapter_of(header())
    assert found == Adapter(4, 8.0, "all", True, BASE, 2)
    assert (found.scale, found.words()) == (2.0, "rank 4, alpha 8, targets all")
    assert adapter_of(header(targets="attention", connectors="false")).connectors is False
    assert layers_of(TWO) == ["a.k_proj", "a.q_proj"], "a whole connector is no adapted layer"


@pytest.mark.parametrize(
    ("tensors", "says", "words"),
    [
        pytest.param(TWO, {"rank": ""}, "no rank", id="no rank"),
        pytest.param(TWO, {"rank": "nan"}, "no rank", id="a rank that is no number"),
        pytest.param(TWO, {"rank": "0"}, "a rank of 0", id="rank 0"),
        pytest.param(TWO, {"rank": "257"}, "a rank of 257", id="a rank beyond the largest"),
        pytest.param(TWO, {"rank": "4.5"}, "a rank of 4.5", id="half a rank"),
        pytest.param(TWO, {"alpha": "inf"}, "no alpha", id="an infinite alpha"),
        pytest.param(TWO, {"alpha": "0"}, "an alpha of 0", id="alpha 0"),
        pytest.param(TWO, {"alpha": "-8"}, "an alpha of -8", id="a negative alpha"),
        pytest.param(TWO, {"targets": "some"}, "no targets", id="unknown targets"),
        pytest.param(TWO, {"connectors": "maybe"}, "no connectors", id="neither with nor without connectors"),
        pytest.param(TWO, {"base_header_sha256": BASE[:-1]}, "no base", id="a digest that is cut"),
        pytest.param({}, {}, "holds no adapter", id="no tensors"),
        pytest.param({"a.lora_A": LOW}, {}, "half an adapter of a", id="A without B"),
        pytest.param({"a.lora_B": HIGH}, {}, "half an adapter of a", id="B without A"),
        pytest.param(TWO, {"rank": "3"}, "has not rank 3", id="another rank than the shapes"),
        pytest.param({**LAYER, "a.q_proj.lora_B": Tensor("F32", (33, 5), (0, 660))}, {}, "not rank 4", id="B too wide"),
        pytest.param({**LAYER, "a.q_proj.lora_A": Tensor("F32", (5, 24), (0, 480))}, {}, "not rank 4", id="A too high"),
        pytest.param({**LAYER, "a.q_proj.lora_A": Tensor("F32", (4,), (0, 16))}, {}, "not rank 4", id="a vector"),
        pytest.param({**LAYER, "a.q_proj.lora_B": Tensor("BF16", (33, 4), (0, 264))}, {}, "not float32", id="bf16"),
    ],
)
def test_what_no_training_wrote_is_refused(tensors: dict[str, Tensor], says: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        adapter_of(header(tensors, **says))


@pytest.mark.parametrize(("rank", "alpha"), [("1", "1e-3"), ("256", "512")], ids=["the smallest", "the largest"])
def test_the_ranks_that_the_spec_allows(rank: str, alpha: str) -> None:
    number = int(rank)
    layer = {
        "a.lora_A": Tensor("F32", (number, 2), (0, 8 * number)),
        "a.lora_B": Tensor("F32", (2, number), (0, 8 * number)),
    }
    assert adapter_of(header(layer, rank=rank, alpha=alpha)).scale == float(alpha) / number


@pytest.mark.parametrize(
    ("decay", "steps", "share"),
    [
        pytest.param(0.9999, 1530, 0.858, id="the guide's: most of the base is left"),
        pytest.param(0.995, 1530, 0.0005, id="upstream's second stage"),
        pytest.param(0.5, 1, 0.25, id="steps 0 and 1 are two updates"),
        pytest.param(0.0, 10, 0.0, id="no average"),
        pytest.param(-0.5, 1, 0.0, id="a decay below 0 counts as none"),
    ],
)
def test_how_much_of_the_base_is_left_in_the_average(decay: float, steps: int, share: float) -> None:
    assert base_share(decay, steps) == pytest.approx(share, abs=5e-4)


def test_the_form_of_a_save_follows_the_profile() -> None:
    assert [form_of(name) for name in ("full", "frozen", "lora", "auto")] == ["full", "full", "lora", None]
    assert (shards_of("full", 8), shards_of("lora", 8), shards_of("lora", 0)) == (8, 1, 0)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        *((name, True) for name in ("ema.safetensors", "model.safetensors", "adapter.safetensors", "scheduler.pt")),
        *((name, True) for name in ("data_status.pt", "optimizer.00000-of-00008.pt")),
        *((name, False) for name in ("model.safetensors.part", "optimizer.pt", "notes.txt", "")),
    ],
)
def test_the_names_of_finished_files(name: str, of: bool) -> None:
    assert is_of_a_save(name) == of
