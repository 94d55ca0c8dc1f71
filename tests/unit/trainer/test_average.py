"""Which file of a checkpoint is the model: the average, or the weights themselves."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import average


@pytest.mark.parametrize(
    ("decay", "steps", "better"),
    [
        pytest.param(0.0, 1530, "model", id="no average is made"),
        pytest.param(0.9999, 1530, "model", id="86 % of the average is the base still"),
        pytest.param(0.9999, 7000, "ema", id="just less than half of it is"),
        pytest.param(0.995, 1530, "ema", id="nothing of the base is left"),
    ],
)
def test_an_average_that_is_the_base_still_is_not_the_model(decay: float, steps: int, better: str) -> None:
    assert average.better_file(decay, steps) == better
