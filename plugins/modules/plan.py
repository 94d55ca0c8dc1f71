#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of an action plugin; there is nothing to run on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Plan all runs from the observations, and show the plan
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - A pure function of the observations of all hosts of the inventory group, run once on the controller.
  - The inventory says which hosts belong to a run. A host that C(--limit) leaves out, or that cannot be reached, is a
    finding. The world size does not shrink.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  diff_mode:
    support: none
options:
  seen:
    description: Name of the variable in which each host's result of M(canvas.fleet.host_info) was registered.
    type: str
    default: __fleet_seen
  group:
    description: Inventory group of the hosts that train.
    type: str
    default: trainers
  show:
    description: Print the whole plan, its findings alone, or nothing; C(fleet_plan_format) says as table or JSON.
    type: str
    choices: [plan, findings, nothing]
    default: plan
"""

EXAMPLES = r"""
- name: Plan
  canvas.fleet.plan:
  run_once: true
  register: plan
"""

RETURN = r"""
hosts:
  description: For each host its place in the run, the changes of each role, its findings, and the C(skipped) checks
    with C(check) and C(reason).
  returned: success
  type: dict
findings:
  description: All findings of all hosts.
  returned: success
  type: list
  elements: dict
refused:
  description: Names of the runs that may not go on.
  returned: success
  type: list
  elements: str
"""
