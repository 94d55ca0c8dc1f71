#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of an action plugin; there is nothing to run on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: training_table
short_description: Print the fleet table
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Prints one line per host of the inventory group, with state, step, losses, speed, time left, weights and newest
    whole checkpoint. The values come from M(canvas.fleet.training_follow), or else from the plan's observation. A host
    that did not answer has a line with the reason.
  - To be run once; opens no connection and changes nothing.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  diff_mode:
    support: none
options:
  seen:
    description: Name of the variable in which each host's result of M(canvas.fleet.training_follow) was registered.
    type: str
    default: __training_status
  group:
    description: Inventory group of the hosts that train.
    type: str
    default: trainers
"""

EXAMPLES = r"""
- name: Look at the trainings
  ansible.builtin.include_role:
    name: canvas.fleet.training
    tasks_from: status
- name: Print the fleet table
  canvas.fleet.training_table:
  run_once: true
"""

RETURN = r"""
rows:
  description: The rows as data, in inventory order.
  returned: success
  type: list
  elements: dict
"""
