#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over code_apply and code_copy_apply."""

from __future__ import annotations

DOCUMENTATION = r"""
module: canvas_code
short_description: Bring BAGEL-Canvas to a pinned commit without losing what a person changed
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Clones or updates the checkout from git, or copies a folder of the controller.
  - M(ansible.builtin.git) does not fit, for three reasons. It fails in check mode on a host without git. It refuses all
    local edits or deletes them (C(force)). It takes the registration in C(data/dataset_info.py) for an edit.
  - Local edits stay in files that the new commit does not change. Other edits are an error. With
    C(canvas_code_local_edits=stash) they are saved as a patch file and in git's stash.
  - Puts in the patches that C(training_profile) and C(canvas_code_lean) need, and takes them out again. They are
    applied to files of known digests only, and C(git diff) on the host shows them.
  - The first clone is made in another folder and renamed. The next run repairs an interrupted one.
  - The action plugin of the same name fills in O(settings), and sends O(archive) only when files differ.
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
options:
  credentials:
    description: Logins and tokens by host, for the repository; filled in from C(fleet_credentials).
    type: dict
    default: {}
  manifest:
    description: Path to SHA-256 of each file of the controller's folder; filled in by the action plugin.
    type: dict
    default: {}
  archive:
    description: A tar on the host with the files of O(manifest); filled in by the action plugin.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Bring the code to its planned commit
  canvas.fleet.canvas_code:
"""

RETURN = r"""
before:
  description: Commit (or digest of the copy) that was there; empty when there was none.
  returned: success
  type: str
commit:
  description: Commit (or digest of the copy) that is there now.
  returned: success
  type: str
edits:
  description: Files that differ from the commit because a person changed them.
  returned: success
  type: list
  elements: str
patched:
  description: Files that were patched, or whose patch was taken back.
  returned: success
  type: list
  elements: str
stashed:
  description: Path of the saved edits; empty when none were saved.
  returned: success
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown
from ..module_utils.core.errors import reported
from ..module_utils.roles.canvas_code import apply as code_apply
from ..module_utils.roles.canvas_code import apply_copy as code_copy_apply
from ..module_utils.system import credentials, host_lock


def main() -> None:
    os.umask(0o022)  # a login with 027 or 077 would close what the training's account has to read
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "manifest": {"type": "dict", "default": {}},
            "archive": {"type": "str", "default": ""},
            "credentials": {"type": "dict", "default": {}, "no_log": True},
            **host_lock.ARGUMENT,
        },
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    credentials.use(given["credentials"])
    with reported(module.fail_json), host_lock.held(given["controller"]):
        if given["settings"]["canvas_code_source"] == "controller":
            report = code_copy_apply.converge(given["settings"], given["manifest"], given["archive"], check=check)
        else:
            report = code_apply.converge(given["settings"], check=check)
    if report["stashed"]:
        module.warn(shown.line(f"changes made by hand were in the way; they are saved in {report['stashed']}"))
    before, after = (f"commit {report[key]}\n" if report[key] else "" for key in ("before", "commit"))
    patches = report.pop("patches")
    diff = [{"before": before, "after": after}] if before != after else []
    patched = [one["after_header"] for one in patches]
    module.exit_json(**shown.result({"diff": [*diff, *patches], "patched": patched, **report}))


if __name__ == "__main__":
    main()
