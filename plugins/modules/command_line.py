#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of an action plugin; there is nothing to run on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: command_line
short_description: Refuse a call that would do nothing
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Fails when no host of the inventory trains, when C(--limit) leaves none that does, and for an unknown tag. Ansible
    passes over all three and ends with 0.
  - To be run once, for all hosts of the inventory; opens no connection and changes nothing.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  diff_mode:
    support: none
options:
  tags:
    description: The tags of the playbook.
    type: list
    elements: str
    default: []
  one_run:
    description: Whether the playbook works on one run; the chosen hosts may then not train several.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: See whether there is anything to do
  canvas.fleet.command_line:
    tags: [provision, train]
  run_once: true
"""

RETURN = r"""#"""
