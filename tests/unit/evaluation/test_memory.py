"""What an evaluation holds of a GPU."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.memory import memory, too_small
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.safetensors import Header, Tensor

VAE = 335_304_388
PER_LAYER = {
    "self_attn.q_proj.weight": (3584, 3584),
    "self_attn.k_proj.weight": (512, 3584),
    "self_attn.v_proj.weight": (512, 3584),
    "self_attn.o_proj.weight": (3584, 3584),
    "mlp.gate_proj.weight": (18944, 3584),
    "mlp.up_proj.weight": (18944, 3584),
    "mlp.down_proj.weight": (3584, 18944),
}


def bagel() -> Header:
    """Both paths of each layer, embedding and head: all but one percent of the model."""
    tensors = {
        f"language_model.model.layers.{layer}.{name.replace('_proj', f'_proj{path}')}": Tensor("BF16", shape)
        for layer in range(28)
        for path in ("", "_moe_gen")
        for name, shape in PER_LAYER.items()
    }
    for name in ("model.embed_tokens", "lm_head"):
        tensors[f"language_model.{name}.weight"] = Tensor("BF16", (152_064, 3584))
    return Header(tensors, 0)


def test_the_whole_model_needs_a_card_of_40_gb() -> None:
    need = memory("answers", bagel(), VAE)
    assert 2 * BAGEL.parameters < need.resident < 40e9
    assert need.streamed is None


def test_losses_fit_a_card_of_24_gb_one_layer_at_a_time() -> None:
    need = memory("loss", bagel(), VAE)
    assert need.streamed is not None
    assert need.streamed < 20e9 < need.resident


def test_longer_rows_need_more() -> None:
    few, many = (memory("loss", bagel(), VAE, tokens).resident for tokens in (4000, 16_000))
    assert few < many


@pytest.mark.parametrize(("mode", "word"), [("answers", "loss"), ("loss", "GPU")])
def test_a_refusal_has_the_numbers(mode: str, word: str) -> None:
    said = too_small(mode, memory(mode, bagel(), VAE), 8_000_000_000)
    assert "8.0 GB" in said.found
    assert "GB" in said.expected
    assert word in said.remedy
