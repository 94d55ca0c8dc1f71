#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over evaluation/offer.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: evaluation_report
short_description: Bring the evaluation of a run to the controller and make its report
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Brings C(evaluation_dir) of the run's first host to C(evaluation_report_dir), with the losses of the run. What is
    there already with the same content is not brought again.
  - Writes C(evaluation.json) and C(index.html) there, one page that needs no network, and shows a table.
  - Pictures are decoded and encoded anew, and all else is read by its declared types.
  - The controller needs the packages of C(requirements.txt). The finding is C(CONTROLLER_PACKAGE_MISSING).
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
attributes:
  diff_mode:
    support: none
options:
  state:
    description:
      - V(made) brings the evaluation and makes the report; it fails where there is none.
      - V(if_there) does the same, and nothing where there is no evaluation.
      - V(fetched) does the same as V(if_there). What is wrong with the evaluation is a finding, and fails nothing.
      - V(ready) only looks whether the controller can make a report. No host is asked.
      - V(queried) is what the action plugin asks the host for.
    type: str
    choices: [made, if_there, fetched, ready, queried]
    default: made
  wanted:
    description: Pieces of files; filled in by the action plugin. Without them the host says what it has.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Make the report of the evaluation
  canvas.fleet.evaluation_report:

- name: Make it beside a model that was fetched, where there is an evaluation
  canvas.fleet.evaluation_report:
    state: fetched
"""

RETURN = r"""
page:
  description: The page on the controller.
  returned: when a report was made
  type: str
json:
  description: The same as data, on the controller.
  returned: when a report was made
  type: str
brought:
  description: Names of the files that were brought.
  returned: when a report was made
  type: list
  elements: str
findings:
  description: What the report cannot show (EVALUATION_NOT_SHOWN); none when all of the evaluation was read.
  returned: when there is an evaluation
  type: list
  elements: dict
subjects:
  description: What was evaluated.
  returned: when a report was made
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown, wire
from ..module_utils.core.errors import reported
from ..module_utils.core.settings import named
from ..module_utils.evaluation import offer as offers
from ..module_utils.system import host_lock


def main() -> None:
    spec = {
        "state": {"type": "str", "choices": ["made", "if_there", "fetched", "ready", "queried"], "default": "made"},
        "settings": {"type": "dict", "default": {}},
        "wanted": {"type": "list", "elements": "dict", "default": []},
        **host_lock.ARGUMENT,
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    settings = module.params["settings"]
    folder, results = (str(named(settings, name)) for name in ("evaluation_dir", "training_results_dir"))
    found = {}
    with reported(module.fail_json), offers.acting_as_owner(folder):
        if module.params["wanted"]:
            wanted = [wire.from_dict(offers.Piece, one) for one in module.params["wanted"]]
            found = {"pieces": list(offers.read(folder, results, wanted))}
        else:
            found = {"offer": wire.to_dict(offers.offer(folder, results))}
    module.exit_json(**shown.result({"changed": False, **found}))


if __name__ == "__main__":
    main()
