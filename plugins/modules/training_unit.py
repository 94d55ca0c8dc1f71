#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over module_utils/training.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: training_unit
short_description: A training as a systemd unit, and what it is doing
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Brings the unit that runs a BAGEL training to a state, and reports step, losses, speed, checkpoints and failures
    from the trainer's own log.
  - The unit runs a small supervisor of this collection, which the module brings along, and that runs the script. It is
    ready at the first step, gives systemd's watchdog a sign of life only while steps advance, and tells systemd by its
    exit code whether another start makes sense. C(systemctl status) shows step, losses, speed and time left.
  - A training that runs is never restarted or stopped unless O(state=restarted), O(state=stopped), O(state=absent) or
    C(training_apply=restart_after_save) says so. When the unit's text or the script changed meanwhile, the file is
    updated and the result says that the training runs with older settings.
  - A stop is done when no process is left, and a start when the first step is proved. Both may take long; the action
    plugin polls the host meanwhile and shows what goes on. The first step needs all hosts of the run, which may be more
    than Ansible works on at once, so a start is waited for by a second task, with O(state=awaited).
  - A finished run stays finished, after a reboot too; only O(state=restarted) takes the mark away.
  - A checkpoint counts as whole when both safetensors files have the length that they declare, and all optimizer files,
    C(scheduler.pt) and C(data_status.pt) are complete archives. The trainer itself would resume from the newest one,
    whole or not.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
options:
  state:
    description:
      - V(started) - the unit is there, comes back after a reboot, and was started, unless the run is finished.
      - V(restarted) - the same, and the training is started anew now; finished runs too.
      - V(stopped) - the unit is there, and no process of it is left. How a running one ends is C(training_stop)'s word.
      - V(present) - the unit is there; whether it runs is left as it is.
      - V(absent) - unit and record are gone. Results and checkpoints are never touched.
      - V(awaited) - nothing is changed; waits for the first step of a start (RV(waiting) of the task that began it is
        C(start)). Fails with the class of the failure and the telling lines when the start did.
      - V(queried) - nothing is changed; the result tells of the training as it is.
      - The action plugin takes C(training_state) where this is not given.
    type: str
    choices: [started, stopped, restarted, present, absent, awaited, queried]
    default: started
  settings:
    description: All variables of all roles for this host; filled in by the action plugin.
    type: dict
    default: {}
  topology:
    description: The host's place in its run, as the plan has it; filled in by the action plugin.
    type: dict
    default: {}
  peer_secret:
    description:
      - Secret of the run, 64 hexadecimal digits, by which its hosts know each other. The action plugin draws one for
        all hosts of the run when C(new_secret) of O(topology) says that they hold none in common. Without it the host
        keeps the one that it holds.
    type: str
    default: ""
  texts:
    description: The files of the unit, as the controller made them from the role's templates.
    type: dict
    default: {}
    suboptions:
      unit:
        description: The unit.
        type: str
        default: ""
      gpu:
        description: The unit before it, which makes the nodes of the GPUs.
        type: str
        default: ""
"""

EXAMPLES = r"""
- name: Start the training
  canvas.fleet.training_unit:
  register: training

- name: Wait for its first step
  canvas.fleet.training_unit:
    state: awaited
  when: training.waiting == 'start'
"""

RETURN = r"""
training:
  description: The training as it is now.
  returned: always
  type: dict
  contains:
    phase:
      description: One of running, restarting, stopping, finished, failed, stopped, absent.
      type: str
    finished:
      description: The trainer ended with 0.
      type: bool
    step:
      description: The newest step in the log; null before the first.
      type: int
    total_steps:
      description: The step that ends the run.
      type: int
    losses:
      description: First and last value since the start, by name (ce, mse).
      type: dict
    rate:
      description: Steps per second of the recent lines.
      type: float
    seconds_left:
      description: Time until the last step.
      type: float
    weights:
      description: One of loaded, partial, scratch, loading, or empty while the log does not say.
      type: str
    checkpoints:
      description: Each with step, kind (whole, model, incomplete), flaws, shards and size in bytes.
      type: list
      elements: dict
    newest_whole:
      description: Step of the newest checkpoint that a start can resume from.
      type: int
    supervisor:
      description: Stage, status line and age in seconds of what the supervisor told last; null without one.
      type: dict
    failure:
      description: Class, line and surrounding lines of what ended the training; null when nothing did.
      type: dict
    older:
      description: Files that changed since the running training was started.
      type: list
      elements: str
    tail:
      description: Last lines of the log.
      type: list
      elements: str
steps:
  description: What was done, or would be done, in order.
  returned: success
  type: list
  elements: str
waiting:
  description: C(start) while that goes on, for O(state=awaited); C(stop) is waited for by the action plugin.
  returned: success
  type: str
findings:
  description: What a person should know, for instance that an older training goes on.
  returned: success
  type: list
  elements: dict
"""

import os
from dataclasses import fields
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import wire
from ..module_utils.core.errors import reported
from ..module_utils.core.topology import Topology
from ..module_utils.peers.secret import fingerprint
from ..module_utils.roles.training import apply as training_apply
from ..module_utils.roles.training.have import Have
from ..module_utils.roles.training.observe import observed
from ..module_utils.roles.training.report import report_of
from ..module_utils.roles.training.unit_host import Host
from ..module_utils.roles.training.want import Texts, Want

STATES = ["started", "stopped", "restarted", "present", "absent", "awaited", "queried"]
TEXT = {"type": "str", "default": ""}
SETTLE = 3.0  # seconds that the module itself waits for what takes time, before the action plugin polls


def main() -> None:
    os.umask(0o022)  # a login with 027 or 077 would close what the training's account has to read
    spec = {
        "peer_secret": {"type": "str", "default": "", "no_log": True},
        "state": {"type": "str", "choices": STATES, "default": "started"},
        "settings": {"type": "dict", "default": {}},
        "topology": {"type": "dict", "default": {}},
        "texts": {"type": "dict", "default": {}, "options": {one.name: TEXT for one in fields(Texts)}},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    secret, state = module.params["peer_secret"], module.params["state"]
    topology, texts = Topology.from_dict(module.params["topology"]), Texts(**module.params["texts"])
    want = Want(module.params["settings"], topology, fingerprint(secret) if secret else "", texts)
    host = Host(secret=secret)

    def report(have: Have) -> Any:
        return wire.to_dict(report_of(observed(have, want), want))

    with reported(module.fail_json, lambda: {"training": report(host.read(want))}):
        if state in ("awaited", "queried"):
            module.exit_json(changed=False, training=report(host.read(want)), steps=[], findings=[], waiting="")
        done = training_apply.converge(host, want, state, module.check_mode, SETTLE)
    for found in done.warnings:
        module.warn(f"{found.code}: {found.found}; {found.because}; {found.remedy}")
    module.exit_json(
        changed=bool(done.steps),
        training=report(done.after),
        steps=list(done.steps),
        findings=[found.as_dict() for found in done.warnings],
        waiting=done.waiting,
        diff=training_apply.difference(done, want, state),
    )


if __name__ == "__main__":
    main()
