"""What a host answers that has nothing yet, for tests of the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.machine.environment import Environment, Space
from ansible_collections.canvas.fleet.plugins.module_utils.machine.facts import Facts
from ansible_collections.canvas.fleet.plugins.module_utils.plan.observation import Observation, Roles
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import observe as canvas_code
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import observe as conda_env
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import observe as dataset
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent import observe as fleet_agent
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import observe as nvidia
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import observe as run_config
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import observe as training
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import observe as weights

TB = 10**12


def bare(facts: Facts, **roles: Any) -> Observation:
    """A host with these facts; `roles` have seen something, the others nothing."""
    nothing = Roles(
        fleet_agent.Observation(),
        nvidia.Observation(state="absent", detail=""),
        conda_env.Observation(),
        canvas_code.Observation(),
        dataset.Observation(),
        weights.Observation(),
        run_config.Observation(),
        training.Observation(),
    )
    around = Environment(shm=Space(TB, TB), compiler="/usr/bin/cc", headers=True)
    return Observation(facts, around, replace(nothing, **roles))
