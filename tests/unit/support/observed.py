"""What a host answers that has nothing yet, for tests of the plan."""

from __future__ import annotations

from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.machine.environment import Environment, Space
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import Facts
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import Observation
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import observe as canvas_code
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import observe as conda_env
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent import observe as fleet_agent
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import observe as weights

TB = 10**12


def bare(facts: Facts, **roles: Any) -> Observation:
    """A host with these facts; `roles` have seen something, the others nothing."""
    nothing: dict[str, Any] = {
        "fleet_agent": fleet_agent.Observation(),
        "weights": weights.Observation(),
        "dataset": {},
        "conda_env": conda_env.Observation(),
        "canvas_code": canvas_code.Observation(),
        "training": {"phase": "absent"},
    }
    around = Environment(shm=Space(TB, TB), compiler="/usr/bin/cc", headers=True)
    return Observation(facts, around, {**nothing, **roles})
