"""The trainer's settings are written only when all of them are valid."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.canvas.fleet.plugins.action.run_files import ActionModule

PLANNED = {
    "inventory_hostname": "atlas",
    "preflight_plan": {"roles": {"run_config": {"values": {"texts": {"script": "exec torchrun"}}}}},
    "ansible_host": "192.0.2.1",
}


def run(**variables: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The action's result for a host with these variables, and what was sent to the host."""
    sent: list[dict[str, Any]] = []
    task = SimpleNamespace(args={}, check_mode=False, async_val=0, collections=None)
    action: Any = ActionModule  # with stand-ins for what it does not ask here
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
    made = action(task, connection, SimpleNamespace(), DataLoader(), Templar(DataLoader()), None)

    def module(name: str | None, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        sent.append(module_args)
        return {"changed": True}

    made._execute_module = module
    return dict(made.run(task_vars={**PLANNED, **variables})), sent


def test_the_settings_go_to_the_host_as_typed_values() -> None:
    result, sent = run(run_config_total_steps="1530")
    assert result["changed"]
    assert sent[0]["settings"]["run_config_total_steps"] == 1530
    assert sent[0]["texts"] == {"script": "exec torchrun"}


def test_the_key_is_handed_over_apart_and_is_nowhere_else() -> None:
    _, sent = run(run_config_wandb_api_key="canary-4711")
    assert sent[0]["wandb_api_key"] == "canary-4711"
    assert "canary" not in str(sent[0]["settings"])
    assert sent[0]["settings"]["run_config_wandb_api_key"].startswith("sha256:")


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


CHOICE = {"name": "lora", "settings": {"training_profile": "lora", "run_config_ema": 0.0}, "why": [], "settled": True}


def planned(**choice: Any) -> dict[str, Any]:
    return {**PLANNED["preflight_plan"], "choice": {**CHOICE, **choice}}  # type: ignore[dict-item]


def test_a_task_after_the_plan_goes_by_its_choice() -> None:
    _, sent = run(training_profile="auto", preflight_plan=planned())
    assert (sent[0]["settings"]["training_profile"], sent[0]["settings"]["run_config_ema"]) == ("lora", 0.0)
    _, sent = run(training_profile="auto", preflight_plan=planned(settled=False))
    assert sent[0]["settings"]["training_profile"] == "lora", "the host is made ready as the plan has it"
    _, sent = run(training_profile="frozen", preflight_plan=planned())
    assert sent[0]["settings"]["training_profile"] == "frozen", "a profile by name is no choice"


@pytest.mark.parametrize("settled", [True, False])
def test_an_observation_keeps_what_is_settled_and_asks_anew_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    monkeypatch.setattr(ActionModule, "before_plan", True)
    _, sent = run(training_profile="auto", preflight_plan=planned(settled=settled))
    assert sent[0]["settings"]["training_profile"] == ("lora" if settled else "auto")


def test_what_works_by_the_profile_is_refused_without_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActionModule, "needs_profile", True)
    result, sent = run(training_profile="auto")
    assert (result["failed"], sent) == (True, [])
    assert "training_profile: auto is decided by the plan" in result["msg"]
    assert run(training_profile="auto", preflight_plan=planned())[1]
