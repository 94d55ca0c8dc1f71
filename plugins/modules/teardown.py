#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over teardown.work()."""

from __future__ import annotations

DOCUMENTATION = r"""
module: teardown
short_description: Remove canvas-fleet from a host
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Removes what canvas-fleet made on the host. Its records tell that apart from foreign files.
  - Keeps checkpoints, original data, weights and edits by hand unless C(fleet_teardown_include) names them. Foreign
    files always stay.
  - Their own roles remove unit, environment and driver before. C(playbooks/teardown.yml) has the order.
  - The action plugin of the same name fills in O(settings) from the variables of all roles.
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
options:
  show:
    description: Print what is removed and what stays.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Take the files, records and the account away
  canvas.fleet.teardown:
"""

RETURN = r"""
removed:
  description: One entry for each removed part, with role, path and bytes.
  returned: success
  type: list
  elements: dict
kept:
  description: What stays, with role, path, why, and also (the value of fleet_teardown_include that would remove it).
  returned: success
  type: list
  elements: dict
roles:
  description: Roles that must remove something themselves before this module is called.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown
from ..module_utils.core.errors import reported
from ..module_utils.system import host_lock, units
from ..module_utils.teardown import apply as teardown


def main() -> None:
    options = {"settings": {"type": "dict", "default": {}}, "show": {"type": "bool", "default": True}}
    module = AnsibleModule(argument_spec={**options, **host_lock.ARGUMENT}, supports_check_mode=True)
    settings = module.params["settings"]
    with reported(module.fail_json), host_lock.held(module.params["controller"]) as hold:
        hold.over = True
        roles = teardown.roles_before(settings)
        report = teardown.work(settings, units.Systemd(), check=module.check_mode)
    before = "".join(f"{part['path']}\n" for part in report["removed"])
    result = {"roles": roles, "diff": [{"before": before, "after": ""}] if before else [], **report}
    module.exit_json(**shown.result(result))


if __name__ == "__main__":
    main()
