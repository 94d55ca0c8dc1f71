#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Documentation of an action plugin; there is nothing to run on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: export_push
short_description: Push a model folder to the hub, from the controller
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Sends a folder that M(canvas.fleet.checkpoint_fetch) brought to the repository C(export_push_to), with
    C(huggingface_hub) on the controller. The token C(export_push_token) is in no argument, and no host gets it.
  - What the hub has already, by its SHA-256, is not sent again. One commit at the end makes all files visible together.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  state:
    description: With V(ready) only the repository is made, and the right to write to it is checked.
    type: str
    choices: [ready, pushed]
    default: pushed
  folder:
    description: The folder on the controller.
    type: path
  card:
    description: The model card as the controller wrote it. Another one in the folder is refused, since it is published.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Push it
  canvas.fleet.export_push:
    folder: fetched/atlas/exports/0001530-ema
"""

RETURN = r"""
url:
  description: Address of the repository.
  returned: when pushed
  type: str
commit:
  description: The commit that holds the files.
  returned: when pushed
  type: str
would:
  description: What would be done, one sentence each.
  returned: in check mode
  type: list
  elements: str
"""
