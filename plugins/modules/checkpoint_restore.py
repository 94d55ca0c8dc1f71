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
  - Makes a checkpoint the newest one of its folder, so that the next start resumes from it. The trainer always resumes
    from the highest number.
  - Newer checkpoints are moved with their links to the quarantine (the folder C(aside) of the kept folder). Nothing is
    deleted.
  - A checkpoint whose C(.pt) files the trainer deleted is put back from the hard links that were kept of it.
  - What is put back is read whole and compared with what was sealed of it, where that is on record.
  - Works as the owner of O(checkpoint_dir), also when started as root.
  - Refused while the unit runs.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
options:
  step:
    description: Step of the checkpoint to resume from.
    type: int
    required: true
  unit:
    description: The training's unit, without C(.service).
    type: str
    required: true
  results_dir:
    description: The run's results.
    type: str
    required: true
  checkpoint_dir:
    description: The run's checkpoints.
    type: str
    required: true
  kept_dir:
    description: Where links and manifests are kept; empty for the usual place.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Go back to step 40
  canvas.fleet.checkpoint_restore:
    step: 40
    unit: canvas-training-atlas
    results_dir: /srv/blockmoving/outputs/atlas
    checkpoint_dir: /srv/blockmoving/outputs/atlas/checkpoints
"""

RETURN = r"""
moves:
  description: Each move that was made, or would be made, in order (C(quarantine), C(put back)).
  returned: success
  type: list
  elements: str
resumes_from:
  description: The step that the next start resumes from; in check mode as it is now, null for none.
  returned: success
  type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.checkpoints import restore as checkpoint_restore
from ..module_utils.checkpoints.seal import Place, kept_dir_of
from ..module_utils.core.errors import reported
from ..module_utils.core.printable import printable
from ..module_utils.system.reach import as_owner

TEXT = {"type": "str", "required": True}


def main() -> None:
    spec = {
        "step": {"type": "int", "required": True},
        "unit": TEXT,
        "results_dir": TEXT,
        "checkpoint_dir": TEXT,
        "kept_dir": {"type": "str", "default": ""},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    given = module.params
    place = Place(
        given["checkpoint_dir"].rstrip("/"),
        kept_dir_of(given["results_dir"], given["checkpoint_dir"], given["kept_dir"]),
    )
    with reported(module.fail_json):
        checkpoint_restore.refuse_while_running(given["unit"])
        with as_owner(place.checkpoints):
            done = checkpoint_restore.restore(place, given["step"], module.check_mode)
            now = checkpoint_restore.resumes_from(place)
    header = f"{place.checkpoints} (step and kind)"
    module.exit_json(
        changed=bool(done.moves),
        moves=printable(done.moves),
        resumes_from=now,
        diff=printable({"before": done.before, "after": done.after, "before_header": header, "after_header": header}),
    )


if __name__ == "__main__":
    main()
