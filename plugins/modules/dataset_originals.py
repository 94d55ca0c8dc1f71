#!/usr/bin/python
# Copyright: canvas-fleet contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: dataset_originals
short_description: Make the folders of the original parquet files, and list the files that a host lacks
description:
  - Reads the rows of the files on the controller (source V(controller)), and refuses bad data before it changes a host.
  - Then makes the folders of the data on the host, and returns what has to be copied.
  - Never overwrites a foreign file in the place of an original. The module fails and names it.
version_added: 0.1.0
author:
  - canvas-fleet contributors (@canvas-fleet)
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
options:
  topology:
    description: The host's place in its run; filled in by the action plugin.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says which folders and files are missing, and changes nothing.
  diff_mode:
    description: The folders and files that are missing.
"""

EXAMPLES = r"""
- name: Make the folders of the original files
  canvas.fleet.dataset_originals:
  register: __dataset_originals
"""

RETURN = r"""
copies:
  description: Files to copy from the controller, as C(src) there and C(dest) on the host.
  returned: success
  type: list
  elements: dict
digests:
  description: The sha256 of the controller's files, by the variable that could name it.
  returned: success
  type: dict
reasons:
  description: Reasons for the changes; empty without any.
  returned: success
  type: list
  elements: str
folders:
  description: Folders that were missing.
  returned: success
  type: list
  elements: str
lacking:
  description: Kinds of files that the host lacks.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown
from ..module_utils.core.errors import reported
from ..module_utils.core.topology import Topology
from ..module_utils.roles.dataset.decide import decide, wanted_digest
from ..module_utils.roles.dataset.observe import observe
from ..module_utils.roles.dataset.originals import prepare
from ..module_utils.roles.dataset.record import layout
from ..module_utils.system import host_lock
from ..module_utils.system.ownership import Owner, owner_of

SPEC = {**{name: {"type": "dict", "default": {}} for name in ("settings", "topology")}, **host_lock.ARGUMENT}


def main() -> None:
    os.umask(0o022)  # a login with 027 or 077 would close what the training's account has to read
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    settings, topology = module.params["settings"], Topology.from_dict(module.params["topology"])
    with reported(module.fail_json), host_lock.held(module.params["controller"]):
        paths = layout(settings)
        reasons = list(decide(observe(settings), settings, topology).reasons)
        copied = paths.originals if settings["dataset_source"] == "controller" else ()  # the rest is fetched
        wanted = {kind: digest for kind in copied if (digest := wanted_digest(settings, kind))}
        owner = Owner() if module.check_mode else owner_of(settings["fleet_user"], settings["fleet_group"])
        found = prepare(settings, paths, wanted, owner, module.check_mode)
    lines = [*found["folders"], *(str(paths.originals[kind]) for kind in found["lacking"])]
    diff = {"before": "", "after": "".join(f"{line}\n" for line in lines)}
    module.exit_json(**shown.result({"diff": diff, "reasons": reasons, **found}))


if __name__ == "__main__":
    main()
