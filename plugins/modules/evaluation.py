#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: evaluation
short_description: See what can be evaluated of a run, and judge it before anything starts
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Looks at test file, base, checkpoints, merged models, disk and units of the run's first host, and changes nothing.
    Folders of the training's account are read as that account.
  - On the controller it is decided what C(evaluation_step) stands for. Each reason against it is a finding, and refuses
    it. C(docs/evaluation.md) lists them.
  - The evaluation itself is the work C(evaluation) of M(canvas.fleet.host_work).
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
"""

EXAMPLES = r"""
- name: Judge an evaluation of step 1530
  canvas.fleet.evaluation:
  vars:
    evaluation_step: "1530"
    evaluation_mode: answers
"""

RETURN = r"""
subjects:
  description: What is evaluated, in this order (C(base), C(0001530), C(0001530-merged)).
  returned: success
  type: list
  elements: str
weights:
  description: For each of them the file of its weights.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown, wire
from ..module_utils.core.errors import reported
from ..module_utils.roles.evaluation.observe import observe
from ..module_utils.system import host_lock


def main() -> None:
    spec = {"settings": {"type": "dict", "default": {}}, **host_lock.ARGUMENT}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with reported(module.fail_json):
        seen = wire.to_dict(observe(module.params["settings"]))
    module.exit_json(**shown.result({"changed": False, "seen": seen}))


if __name__ == "__main__":
    main()
