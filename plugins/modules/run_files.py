#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over roles/run_config/apply.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_files
short_description: Write all settings of the trainer, in one call
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Writes the train script, the dataset yaml, the dataset's entry in C(data/dataset_info.py), and the key file of W&B.
  - Each file is written under another name and renamed. An interruption leaves the old or the new file.
  - A file made or changed by hand is kept as C(<file>.user-<digest>) and reported. In C(dataset_info.py) the module
    changes only its marked block.
  - The key stands only in its own file with mode 0600, never in the script, the result, or the diff.
  - The action plugin of the same name fills in O(settings) from the variables of all roles.
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
options:
  texts:
    description: The texts as the plan made them; filled in by the action plugin.
    type: dict
    required: true
    suboptions:
      script:
        description: The train script.
        type: str
        required: true
      yaml:
        description: The loader's yaml.
        type: str
        required: true
      registration:
        description: The block of C(data/dataset_info.py), with C(@rows@) for the number of samples.
        type: str
        required: true
  wandb_api_key:
    description: Key of W&B; empty when the user set none. Filled in by the action plugin.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Write the settings of the trainer
  canvas.fleet.run_files:
"""

RETURN = r"""
files:
  description: One entry for each file, with name, path, changed, kept (path of the text made by hand) and sha256.
  returned: success
  type: list
  elements: dict
"""

import os
from dataclasses import fields

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown
from ..module_utils.core.errors import reported
from ..module_utils.roles.run_config.apply import converge
from ..module_utils.roles.run_config.texts import Texts
from ..module_utils.system import host_lock

TEXT = {"type": "str", "required": True}


def main() -> None:
    os.umask(0o022)  # a login with 027 or 077 would close what the training's account has to read
    module = AnsibleModule(
        argument_spec={
            "texts": {"type": "dict", "required": True, "options": {one.name: TEXT for one in fields(Texts)}},
            "wandb_api_key": {"type": "str", "default": "", "no_log": True},
            "settings": {"type": "dict", "default": {}},
            **host_lock.ARGUMENT,
        },
        supports_check_mode=True,
    )
    with reported(module.fail_json), host_lock.held(module.params["controller"]):
        texts = Texts(**module.params["texts"])
        report = converge(module.params["settings"], texts, module.params["wandb_api_key"], check=module.check_mode)
    for entry in report["files"]:
        if entry["kept"]:
            by_hand = f"{entry['path']} was made or changed by hand; that text is kept as {entry['kept']}"
            module.warn(shown.line(by_hand))
    module.exit_json(**shown.result(report))


if __name__ == "__main__":
    main()
