#!/usr/bin/python
# Copyright: canvas-fleet contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
module: host_work
short_description: Run long work on a host in a unit of its own
description:
  - Runs one of the collection's workers in a transient systemd unit, so that it survives the connection, and waits for
    it while showing rate and time left.
  - A converge that comes while the work still runs attaches to it. Work that was killed is started again; every worker
    continues where it was cut.
  - Nothing has to be installed on the host first, because the module brings the worker's code along.
version_added: 0.1.0
author:
  - canvas-fleet contributors (@canvas-fleet)
options:
  worker:
    description: Which worker runs, by the name of its role.
    type: str
    required: true
  name:
    description:
      - The name of the work on the host, which is part of the unit's name C(canvas-work-<name>).
      - Defaults to O(worker).
    type: str
  spec:
    description: What the worker is told. With worker, user and interpreter it identifies the work.
    type: dict
    default: {}
  secrets:
    description:
      - Merged into O(spec) inside the unit. They reach it through a file in memory that the unit removes once it is
        read, and are in no argument, unit or record.
    type: dict
    default: {}
  environment:
    description: Variables of the work's environment, such as proxies. They are handed over like O(secrets).
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
    description: Folders that are made for O(user) where they are absent. One that exists is left as it is.
    type: list
    elements: path
    default: []
  noun:
    description: What is counted, for the display, when the work does not say it.
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
    description: Where records lie on the host. The action plugin takes it from C(fleet_state_dir).
    type: path
    default: /var/lib/canvas-fleet
  system_ca:
    description:
      - Let the clients inside the work trust the host's own store of certificates. The action plugin sets it when
        C(fleet_ca_bundle) is set.
    type: bool
    default: false
  request_id:
    description: Set by the action plugin, so that a call that is repeated after a lost connection finds its answer.
    type: str
    default: ""
  digest:
    description: Set by the action plugin with O(state=polled), the work that it waits for.
    type: str
    default: ""
attributes:
  check_mode:
    description: Says what the work would do, where the worker can tell, and starts nothing.
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

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.errors import reported
from ..module_utils.system import units
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
}


def main() -> None:
    os.umask(0o022)  # a login with 027 or 077 would close what the training's account has to read
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    given = module.params
    name = given["name"] or given["worker"]
    with reported(module.fail_json):
        runner = host_work.JobRunner(Path(given["state_dir"]), name, units.Systemd())
        if given["state"] == "absent":
            module.exit_json(changed=runner.absent(module.check_mode))
        if given["state"] == "polled":
            module.exit_json(changed=False, work=runner.polled(given["digest"]))
        if module.check_mode:
            would = work_main.preview(given["worker"], given["spec"])
            module.exit_json(changed=bool(would), would=would)
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
        module.exit_json(changed=False, work={**runner.started(job), "digest": job.digest})


if __name__ == "__main__":
    main()
