#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of an action plugin; what runs on a host is canvas.fleet.training_unit."""

from __future__ import annotations

DOCUMENTATION = r"""
module: training_follow
short_description: Look at a training, once or until it has ended
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Asks M(canvas.fleet.training_unit) for the state of a training and turns it into a row of the fleet table.
  - With O(follow=true) it goes on asking until the training has ended, prints a line with step, losses, speed and time
    left now and then, and fails when the run did not end whole - failed or stopped, weights not loaded, or steps at the
    end that no whole checkpoint holds.
  - A connection that is lost is tried again for O(retry) seconds; the training does not depend on it.
  - Changes nothing.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
options:
  follow:
    description: Wait for the end of the training.
    type: bool
    default: false
  rank:
    description: The host's place in its run. Only the first, V(0), tells of steps, weights and checkpoints.
    type: int
    default: 0
  poll:
    description: Seconds between two looks.
    type: float
    default: 5
  every:
    description: Seconds between two lines; six times as many when nothing moves.
    type: float
    default: 10
  retry:
    description: Seconds that a lost connection is tolerated.
    type: float
    default: 60
  unit:
    description: Name of the unit, without C(.service).
    type: str
    required: true
  run:
    description: Name of the run.
    type: str
    required: true
  user:
    description: User that the training runs as.
    type: str
    required: true
  group:
    description: Its group.
    type: str
    required: true
  script:
    description: The script that starts the trainer.
    type: str
    required: true
  working_dir:
    description: Folder that the script is started in.
    type: str
    required: true
  results_dir:
    description: Folder of the trainer's C(log.txt).
    type: str
    required: true
  checkpoint_dir:
    description: Folder of the checkpoints.
    type: str
    required: true
  state_dir:
    description: Folder of the record of starts and ends.
    type: str
    default: /var/lib/canvas-fleet
  inputs:
    description: Further files that a start reads.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Follow the training to its end
  canvas.fleet.training_follow:
    follow: true
    rank: "{{ training_node_rank }}"
    unit: "{{ training_unit }}"
    run: "{{ training_run }}"
    user: "{{ fleet_user }}"
    group: "{{ fleet_group }}"
    script: "{{ training_script }}"
    working_dir: "{{ training_working_dir }}"
    results_dir: "{{ training_results_dir }}"
    checkpoint_dir: "{{ training_checkpoint_dir }}"
    state_dir: "{{ fleet_state_dir }}"
"""

RETURN = r"""
training:
  description: As M(canvas.fleet.training_unit) returns it.
  returned: success
  type: dict
row:
  description: The host's row of the fleet table.
  returned: success
  type: dict
problems:
  description: Why the run did not end whole; empty when it did, and while it is not followed.
  returned: success
  type: list
  elements: str
"""
