#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over roles/fleet_agent/apply_readers.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: readers
short_description: Say who may read the results and the journal of a training
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Makes the accounts of C(fleet_readers) members of C(fleet_group), which may read what the training writes, and of
    C(systemd-journal), whose members may read the journal.
  - Takes these memberships away from accounts that left the list. Memberships that it did not make stay.
  - The account of the training gets nothing by it.
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
"""

EXAMPLES = r"""
- name: Let two people read
  canvas.fleet.readers:
  vars:
    fleet_readers: [ada, grace]
"""

RETURN = r"""
readers:
  description: The accounts that may read now, or would.
  returned: success
  type: list
  elements: str
changes:
  description: The memberships that were made and taken away, or would be.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown
from ..module_utils.core.errors import reported
from ..module_utils.roles.fleet_agent import apply_readers, decide_readers, readers
from ..module_utils.system import host_lock


def main() -> None:
    os.umask(0o022)
    spec = {"settings": {"type": "dict", "default": {}}, **host_lock.ARGUMENT}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    settings = module.params["settings"]
    with reported(module.fail_json), host_lock.held(module.params["controller"]):
        done = apply_readers.converge(settings, module.check_mode)
        names = decide_readers.wanted(readers.observe(settings), settings)
    header = {"before_header": "readers", "after_header": "readers"}
    out, into = ("".join(f"{one.name} in {one.group}\n" for one in done if one.add is add) for add in (False, True))
    result = {"changed": bool(done), "readers": names, "changes": [str(one) for one in done]}
    module.exit_json(**shown.result({**result, "diff": {"before": out, "after": into, **header}}))


if __name__ == "__main__":
    main()
