"""What the trainer is told is written only from settings that all have a meaning."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.canvas.fleet.plugins.action.run_files import ActionModule


def run(**variables: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The action's result for a host with these variables, and what was sent to the host."""
    sent: list[dict[str, Any]] = []
    task = SimpleNamespace(args={"topology": {}}, check_mode=False, async_val=0, collections=None)
    action: Any = ActionModule  # with stand-ins for what it does not ask here
    made = action(task, SimpleNamespace(), SimpleNamespace(), DataLoader(), Templar(DataLoader()), None)

    def module(module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        sent.append(module_args)
        return {"changed": True}

    made._execute_module = module
    return dict(made.run(task_vars={"inventory_hostname": "atlas", **variables})), sent


def test_the_settings_go_to_the_host_as_typed_values() -> None:
    result, sent = run(run_config_total_steps="1530")
    assert result["changed"]
    assert sent[0]["settings"]["run_config_total_steps"] == 1530


@pytest.mark.parametrize(
    "wrong",
    [{"run_config_total_steps": "many"}, {"run_config_lr": "{{ nowhere }}"}],
    ids=["not a number", "a name that nobody set"],
)
def test_nothing_is_written_while_a_setting_has_no_meaning(wrong: dict[str, Any]) -> None:
    result, sent = run(**wrong)
    assert sent == []
    assert result["failed"]
    assert next(iter(wrong)) in result["msg"]
