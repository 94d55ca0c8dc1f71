#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of an action plugin; there is nothing to run on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guarded
short_description: Run a module of Ansible's own, and believe nothing of its answer
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Hands on whether something was changed or failed, and the message. Facts, warnings and everything else that a host
    may put into its answer is dropped.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  diff_mode:
    support: none
options:
  module:
    description: The full name of the module.
    type: str
    required: true
  args:
    description: Its arguments.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Copy a file
  canvas.fleet.guarded:
    module: ansible.builtin.copy
    args:
      src: a.parquet
      dest: /srv/a.parquet
      mode: "0644"
"""

RETURN = r"""#"""
