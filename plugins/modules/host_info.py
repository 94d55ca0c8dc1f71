#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over the roles' observe()."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Observe everything that a later step needs to know, in one call
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Reads facts of the host (system, memory, disks, GPUs) and the observation of each role.
  - Changes nothing. Big files are judged by size, modification time and inode against the record of an earlier hash.
  - Each part is read in a process of its own, within limits of time and memory (module_utils/system/limits.py). A part
    that has no answer is named in RV(observation.silent), and the others answer.
  - The action plugin of the same name fills in O(settings) from the variables of all roles and checks them by their
    argument specs. It does not contact a host with invalid variables. The result then says what is invalid.
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
attributes:
  diff_mode:
    support: none
options:
  master:
    description:
      - C(address) and C(port) of the first host of the run. The module tests whether this host can reach it.
      - Empty on the first host and in a run of one host. Tested only before the training starts.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Observe the host
  canvas.fleet.host_info:
  register: seen
"""

RETURN = r"""
lock:
  description: Who works on the host now (C(who), C(since)), and the name of who did so last (C(last)).
  returned: success
  type: dict
observation:
  description: What was read; a part without an answer is missing.
  returned: success
  type: dict
  contains:
    facts:
      description: The machine, its memory, disks and GPUs.
      type: dict
    environment:
      description: What else a training needs of the machine, such as its clock and free ports.
      type: dict
    roles:
      description: The observation of each role, by the role's name.
      type: dict
    works:
      description: Long work that runs there now.
      type: list
      elements: dict
    silent:
      description: For each part without an answer the reason.
      type: dict
settings:
  description: The settings that were used, typed; secrets are digests.
  returned: always
  type: dict
findings:
  description: What is wrong with the variables themselves.
  returned: always
  type: list
  elements: dict
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown, wire
from ..module_utils.core.errors import FleetError, reported
from ..module_utils.core.settings import Settings
from ..module_utils.machine import environment, facts, long_work, mounts
from ..module_utils.machine.starts import will_start
from ..module_utils.roles.canvas_code import observe as canvas_code
from ..module_utils.roles.conda_env import observe as conda_env
from ..module_utils.roles.dataset import observe as dataset
from ..module_utils.roles.fleet_agent import observe as fleet_agent
from ..module_utils.roles.nvidia import observe as nvidia
from ..module_utils.roles.run_config import observe as run_config
from ..module_utils.roles.training import observe as training
from ..module_utils.roles.weights import observe as weights
from ..module_utils.system import host_lock, limits
from ..module_utils.system.parts import Part, answers

OBSERVERS: dict[str, Callable[[Settings], Any]] = {
    "fleet_agent": fleet_agent.observe,
    "nvidia": nvidia.observe,
    "conda_env": conda_env.observe,
    "canvas_code": canvas_code.observe,
    "dataset": dataset.observe,
    "weights": weights.observe,
    "run_config": run_config.observe,
    "training": training.observe,
}
AROUND: dict[str, Callable[[Settings], Any]] = {
    "facts": facts.observe,
    "environment": environment.observe,
    "works": long_work.observe,
}
OWN_LIMITS: dict[str, dict[str, Any]] = {"nvidia": {"seconds": limits.GPU_SECONDS, "memory": 0}}


def observe(settings: Settings, master: Mapping[str, Any]) -> dict[str, Any]:
    """All parts at once, then what only a start needs; for a part without an answer `silent` says why."""
    until = time.monotonic() + limits.HOST_SECONDS

    def asking(look: Callable[[Settings], Any]) -> Callable[[], Any]:
        return lambda: wire.to_dict(look(settings))

    looks = {**AROUND, **OBSERVERS}
    seen, silent = answers(
        {name: Part(asking(look), **OWN_LIMITS.get(name, {})) for name, look in looks.items()}, until
    )
    unit = wire.from_dict(training.Observation, seen["training"]).unit if "training" in seen else None
    if unit and "environment" in seen and will_start(unit.phase, settings):
        start, late = answers({"start": Part(lambda: environment.before_start(master))}, until)
        seen["environment"].update(start.get("start", {}))
        silent.update(late)
    if silent:
        silent.update(mounts.silent(map(str, settings.values()), until))
    parts = {name: seen[name] for name in AROUND if name in seen}
    return {**parts, "roles": {name: seen[name] for name in OBSERVERS if name in seen}, "silent": silent}


def main() -> None:
    spec = {name: {"type": "dict", "default": {}} for name in ("settings", "master", "controller")}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with reported(module.fail_json):
        if account := os.geteuid():
            raise FleetError("only root sees all", code="NOT_ROOT", found=f"the account {account}", expected="root")
        lock = host_lock.observed(module.params["controller"])  # before the rest: what is changed meanwhile is noticed
        found = observe(module.params["settings"], module.params["master"])
    module.exit_json(**shown.result({"changed": False, "observation": found, "lock": lock}))


if __name__ == "__main__":
    main()
