#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of an action plugin; there is nothing to run on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: new_inventory
short_description: Write an inventory with pinned host keys
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Asks each server for its host keys, shows their fingerprints, and waits for a yes. Then writes a new folder with
    C(hosts.yml), C(group_vars/trainers.yml) and C(known_hosts.txt), with comments.
  - Refuses values that the plan would refuse, servers that show no key, and a folder that exists.
  - Runs on the controller; opens no session on a server. Relative paths start at the current folder.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  diff_mode:
    support: none
options:
  path:
    description: The new folder.
    type: str
    default: inventory/mine
  servers:
    description:
      - The servers as one gives them to ssh, separated by commas. V(user@address:port) is understood, and so is
        V(ssh -p 2222 -i KEY user@address). An IPv6 address with a port stands in brackets.
    type: str
    required: true
  train:
    description: The training parquet, a file on the controller or a URL.
    type: str
    required: true
  test:
    description: The test parquet, in the same form.
    type: str
    default: ""
  root:
    description: The folder on the servers for everything, on a large disk.
    type: str
    default: /srv/blockmoving
  results:
    description: The folder on the servers for results, with a folder for each run. Empty puts them below O(root).
    type: str
    default: ""
  run:
    description: The name of one run that all servers share. Empty gives each server a run of its own.
    type: str
    default: ""
  fingerprints:
    description:
      - The fingerprints of the servers' host keys, C(SHA256:…), as the provider shows them. Other keys are not pinned.
      - V(all) takes what the servers show, without a question. Use it only where nobody can stand between.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Write an inventory for two servers that share a run
  canvas.fleet.new_inventory:
    servers: ubuntu@203.0.113.21, ubuntu@203.0.113.22
    train: ~/BlockMovingSFT/data/output/train_split.parquet
    run: pair
"""

RETURN = r"""
path:
  description: The folder that was written.
  type: str
  returned: success
hosts:
  description: The names of the hosts, in the order of the servers.
  type: list
  elements: str
  returned: success
"""
