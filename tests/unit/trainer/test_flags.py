"""A flag's value is read by the kind that the trainer's own parser gives it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.flags import text, truth, typed


@pytest.mark.parametrize(
    ("flag", "value", "read"),
    [
        ("use_flex", "yes", True),
        ("use_flex", False, False),
        ("auto_resume", "False", False),
        ("total_steps", "1530", 1530),
        ("total_steps", 1530.0, 1530),
        ("lr", "1e-5", 1e-5),
        ("lr", 1, 1.0),
        ("layer_module", "Qwen2MoTDecoderLayer", "Qwen2MoTDecoderLayer"),
    ],
)
def test_a_value_is_read_by_its_kind(flag: str, value: Any, read: Any) -> None:
    found = typed(flag, value)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("flag", "value"),
    [("use_flex", "perhaps"), ("total_steps", 1.5), ("total_steps", True), ("lr", None), ("lr", [1]), ("lr", "much")],
)
def test_a_value_of_another_kind_names_its_variable(flag: str, value: Any) -> None:
    with pytest.raises(FleetError) as caught:
        typed(flag, value)
    assert caught.value.variable == f"run_config_{flag}"


def test_values_stand_on_the_command_line_as_in_the_guide() -> None:
    assert [text(value) for value in (True, 1e-05, 2.5, 7, "a b")] == ["True", "1e-5", "2.5", "7", "a b"]
    assert [truth(value) for value in ("on", 1, "off", "perhaps", None)] == [True, True, False, False, False]
