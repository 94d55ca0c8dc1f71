#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over module_utils/checkpoint_restore.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: checkpoint_restore
short_description: Let a training resume from an older checkpoint
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Makes the checkpoint of C(training_restore_step) the newest one of its folder, so that the next start resumes from
    it. The trainer always resumes from the highest number.
  - Moves newer checkpoints with their links into quarantine (the folder C(aside) of the kept folder). Deletes nothing.
  - Restores a checkpoint without its C(.pt) files from its hard links. The trainer deletes these files.
  - Reads the restored checkpoint whole and compares it with the recorded digests.
  - Works as the owner of C(training_checkpoint_dir), also when started as root.
  - Refused while the unit runs.
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
"""

EXAMPLES = r"""
- name: Go back to step 40
  canvas.fleet.checkpoint_restore:
  vars:
    training_restore_step: 40
"""

RETURN = r"""
moves:
  description: Each move that was made, or would be made, in order (C(quarantine), C(put back)).
  returned: success
  type: list
  elements: str
resumes_from:
  description: The step from which the next start resumes, or null. In check mode it is the present one.
  returned: success
  type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.checkpoints import restore as checkpoint_restore
from ..module_utils.checkpoints.seal import Place, kept_dir_of
from ..module_utils.core import shown
from ..module_utils.core.errors import reported
from ..module_utils.system import host_lock
from ..module_utils.system.reach import as_owner


def main() -> None:
    spec = {"settings": {"type": "dict", "default": {}}, **host_lock.ARGUMENT}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    settings = module.params["settings"]
    folder, kept = (str(settings[f"training_{name}"]) for name in ("checkpoint_dir", "kept_dir"))
    place = Place(folder.rstrip("/"), kept_dir_of(str(settings["training_results_dir"]), folder, kept))
    with reported(module.fail_json), host_lock.held(module.params["controller"]) as hold:
        hold.over = True
        checkpoint_restore.refuse_while_running(str(settings["training_unit"]))
        with as_owner(place.checkpoints):
            done = checkpoint_restore.restore(place, settings["training_restore_step"], module.check_mode)
            now = checkpoint_restore.resumes_from(place)
    header = f"{place.checkpoints} (step and kind)"
    diff = {"before": done.before, "after": done.after, "before_header": header, "after_header": header}
    result = {"changed": bool(done.moves), "moves": list(done.moves), "resumes_from": now, "diff": diff}
    module.exit_json(**shown.result(result))


if __name__ == "__main__":
    main()
