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
  - With C(training_follow=true) it asks until the training has ended, and prints step, losses, speed and time left from
    time to time. It fails when the training failed or was stopped, did not load its weights, or ended with steps that
    no whole checkpoint holds.
  - It retries a lost connection for C(fleet_reconnect_timeout) seconds. The training does not depend on the connection.
  - Changes nothing.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Follow the training to its end
  canvas.fleet.training_follow:
  vars:
    training_follow: true
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
  description: Problems at the end of the run; empty without any, and while it is not followed.
  returned: success
  type: list
  elements: str
"""
