#!/usr/bin/python
# Copyright: canvas-fleet contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: host_work
short_description: Run long work on a host in its own unit
description:
  - Runs a worker of the collection in a transient systemd unit, which survives a lost connection. Waits for it and
    shows rate and time left.
  - A converge attaches to work that still runs. It starts killed work again, and every worker continues where it
    stopped.
  - The module brings the worker's code along, so nothing has to be installed on the host first.
version_added: 0.1.0
author:
  - canvas-fleet contributors (@canvas-fleet)
extends_documentation_fragment: [canvas.fleet.attributes.lock]
options:
  worker:
    description: The worker, named by its role.
    type: str
    required: true
  name:
    description:
      - The name of the work on the host, which is part of the unit's name C(canvas-work-<name>).
      - Defaults to O(worker).
    type: str
  spec:
    description: Arguments of the worker. Together with worker, user and interpreter they identify the work.
    type: dict
    default: {}
  secrets:
    description:
      - Merged into O(spec) inside the unit. The unit reads them from a file in memory and removes it. They are in no
        argument, unit or record.
    type: dict
    default: {}
  environment:
    description: Environment variables of the work, such as proxies. They travel like O(secrets).
    type: dict
    default: {}
  python:
    description: The interpreter of the work.
    type: path
    default: /usr/bin/python3
  user:
    description: The account that the work runs as.
    type: str
    default: root
  folders:
    description: Folders to make for O(user). An existing one is left as it is.
    type: list
    elements: path
    default: []
  noun:
    description: What the progress counts, for the display. The work can name it, too.
    type: str
    default: ""
  state:
    description:
      - With V(started) the work is started, or attached to, and waited for.
      - With V(polled) only its state is read. This is what the action plugin does while it waits.
      - With V(absent) it is stopped and its record is removed.
    type: str
    choices: [started, polled, absent]
    default: started
  state_dir:
    description: Folder of the records on the host. The action plugin takes it from C(fleet_state_dir).
    type: path
    default: /var/lib/canvas-fleet
  system_ca:
    description:
      - Makes HTTP clients in the work trust the host's certificate store. The action plugin sets it with
        C(fleet_ca_bundle).
    type: bool
    default: false
  request_id:
    description: Set by the action plugin. A call that is repeated after a lost connection finds its answer by it.
    type: str
    default: ""
  digest:
    description: Set by the action plugin with O(state=polled). It identifies the work that the plugin waits for.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what the work would do if the worker can tell. Starts nothing.
    support: full
  diff_mode:
    description: What the work changes is known only when it has run.
    support: none
  platform:
    description: Hosts that were booted with systemd.
    support: full
    platforms: posix
"""

EXAMPLES = r"""
- name: Fetch and verify the model folder
  canvas.fleet.host_work:
    worker: weights
    spec:
      repo: ByteDance-Seed/BAGEL-7B-MoT
    secrets:
      token: "{{ weights_token }}"
    python: "{{ fleet_agent_python }}"
    user: "{{ fleet_user }}"
"""

RETURN = r"""
work:
  description: State of the unit and its last progress; the worker's own values stand beside it.
  returned: when started or polled
  type: dict
would:
  description: What the work would do, one sentence each.
  returned: in check mode
  type: list
  elements: str
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown
from ..module_utils.core.errors import reported
from ..module_utils.system import host_lock, units
from ..module_utils.work import entry as work_main
from ..module_utils.work import runner as host_work

SPEC = {
    "worker": {"type": "str", "required": True},
    "name": {"type": "str"},
    "spec": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "environment": {"type": "dict", "default": {}},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "user": {"type": "str", "default": "root"},
    "folders": {"type": "list", "elements": "path", "default": []},
    "noun": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["started", "polled", "absent"], "default": "started"},
    "state_dir": {"type": "path", "default": "/var/lib/canvas-fleet"},
    "system_ca": {"type": "bool", "default": False},
    "request_id": {"type": "str", "default": ""},
    "digest": {"type": "str", "default": ""},
    **host_lock.ARGUMENT,
}


def main() -> None:
    os.umask(0o022)  # a login with 027 or 077 would close what the training's account has to read
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    given = module.params
    name = given["name"] or given["worker"]
    with reported(module.fail_json), host_lock.held(given["controller"]):
        result = _result(given, name, module.check_mode)
    module.exit_json(**shown.result(result))


def _result(given: dict[str, Any], name: str, check: bool) -> dict[str, Any]:
    runner = host_work.JobRunner(Path(given["state_dir"]), name, units.Systemd())
    if given["state"] == "absent":
        return {"changed": runner.absent(check)}
    if given["state"] == "polled":
        return {"changed": False, "work": runner.polled(given["digest"])}
    if check:
        would = work_main.preview(given["worker"], given["spec"])
        return {"changed": bool(would), "would": would}
    job = host_work.JobSpec(
        name=name,
        worker=given["worker"],
        spec=given["spec"],
        user=given["user"],
        python=given["python"],
        request_id=given["request_id"],
        secrets=given["secrets"],
        folders=given["folders"],
        environment=host_work.work_environment(given["environment"], given["system_ca"]),
    )
    return {"changed": False, "work": {**runner.started(job), "digest": job.digest}}


if __name__ == "__main__":
    main()
