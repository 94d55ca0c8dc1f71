#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over roles/export/observe.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: export_card
short_description: Choose the weights of an export, and write its model card
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Chooses the weights that C(export_step) and C(export_weights) name, and refuses what cannot be exported. It reads
    headers alone and writes nothing.
  - The action plugin fills the model card with what the host says (losses, digests, evaluation), with the settings, and
    with the plan.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  platform:
    platforms: posix
options:
  state:
    description: What is asked; filled in by the action plugin.
    type: str
    choices: [queried]
    default: queried
  settings:
    description: All variables of all roles for this host; filled in by the action plugin.
    type: dict
    default: {}
  controller:
    description: Who asks; filled in by the action plugin.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Choose the weights and describe them
  canvas.fleet.export_card:
  register: card
"""

RETURN = r"""
chosen:
  description: The chosen weights and what is known of them, as the action plugin uses it.
  returned: success
  type: dict
spec:
  description: What the work needs beside the settings; C(export_step), C(export_weights) and C(card).
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown, wire
from ..module_utils.core.errors import reported
from ..module_utils.roles.export import observe
from ..module_utils.system import host_lock
from ..module_utils.system.reach import as_owner


def main() -> None:
    spec = {
        "state": {"type": "str", "choices": ["queried"], "default": "queried"},
        "settings": {"type": "dict", "default": {}},
        **host_lock.ARGUMENT,
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    settings = module.params["settings"]
    with reported(module.fail_json), as_owner(str(settings["training_checkpoint_dir"])):
        seen = observe.observe(settings)
    module.exit_json(**shown.result({"changed": False, "chosen": wire.to_dict(seen)}))


if __name__ == "__main__":
    main()
