"""Whether weights are of the base's model: one judgement, of which evaluation and export take what they need."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.safetensors import Header, Tensor
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.same_model import Unlike, unlike

POSITIONS = "vit_pos_embed.pos_embed"
BASE = {"a": Tensor("BF16", (24, 16)), "b": Tensor("BF16", (24,)), POSITIONS: Tensor("F32", (4, 4))}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param({}, Unlike(), id="the same"),
        pytest.param({"a": Tensor("BF16", (24, 16), (8, 9))}, Unlike(), id="another place in the file"),
        pytest.param({"a": None}, Unlike(lacking=("a",)), id="one less"),
        pytest.param({"d": Tensor("BF16", (2,)), "c": Tensor("BF16", (2,))}, Unlike(more=("d", "c")), id="two more"),
        pytest.param({"b": Tensor("BF16", (25,))}, Unlike(other=("b",), reshaped=("b",)), id="another shape"),
        pytest.param({"b": Tensor("F32", (24,))}, Unlike(other=("b",)), id="another type"),
        pytest.param({"latent_pos_embed.pos_embed": Tensor("F32", (9, 9))}, Unlike(), id="more sinusoids"),
        pytest.param({POSITIONS: Tensor("F32", (9, 9))}, Unlike(other=(POSITIONS,)), id="other sinusoids"),
        pytest.param({POSITIONS: None}, Unlike(lacking=(POSITIONS,)), id="no sinusoids"),
    ],
)
def test_the_headers_say_what_is_unlike(change: dict[str, Tensor | None], found: Unlike) -> None:
    own = {name: tensor for name, tensor in {**BASE, **change}.items() if tensor is not None}
    assert unlike(Header(own, 0), Header(BASE, 0)) == found
