#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over checkpoints/offer.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: checkpoint_fetch
short_description: Bring a checkpoint, a merged model or an export, logs and losses to the controller
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Brings what C(training_fetch) names from the first host of a run, with logs and losses, into C(training_fetch_dir).
  - Files travel by OpenSSH's sftp with the settings of Ansible's connection. A transfer that was cut goes on where it
    ended. A file gets its name when its SHA-256 is the one of its seal.
  - The login user has to be one of C(fleet_readers).
  - On the host it adds missing digests to the seal, and lets the group read a model that its trainer has closed to it.
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
attributes:
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Fetch the newest model
  canvas.fleet.checkpoint_fetch:
  vars:
    training_fetch: model
"""

RETURN = r"""
offer:
  description: What the host offers, as the action plugin uses it. Files have C(name), C(size) and C(sha256).
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.checkpoints import offer as offers
from ..module_utils.checkpoints.seal import Place, kept_dir_of
from ..module_utils.core import shown, wire
from ..module_utils.core.errors import reported
from ..module_utils.system import host_lock
from ..module_utils.system.reach import as_owner


def main() -> None:
    spec = {"settings": {"type": "dict", "default": {}}, **host_lock.ARGUMENT}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    settings = module.params["settings"]
    names = ("training_results_dir", "training_checkpoint_dir", "training_kept_dir")
    results, folder, kept = (str(settings[name]) for name in names)
    place = Place(folder.rstrip("/"), kept_dir_of(results, folder, kept))
    with reported(module.fail_json), as_owner(place.checkpoints):
        what, step = settings["training_fetch"], settings["training_fetch_step"]
        names_of_base = settings["weights_files"]
        kind = str(settings.get("export_weights") or "auto")
        found = offers.offer(place, results, what, step, names_of_base, fill=not module.check_mode, kind=kind)
    module.exit_json(**shown.result({"changed": False, "offer": wire.to_dict(found)}))


if __name__ == "__main__":
    main()
