#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of an action plugin; there is nothing to run on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Plan all runs from what was observed, and show the plan
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - A pure function of the observations of all hosts of the inventory group, run once on the controller.
  - Membership of a run is read from the inventory, never from the hosts that happen to be in the play, so that
    C(--limit) or an unreachable host is a finding and not a smaller world.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
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
  description: For each host its place in the run, what every role would change, its findings, and C(skipped), the
    checks that could not be made, with C(check) and C(reason).
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
