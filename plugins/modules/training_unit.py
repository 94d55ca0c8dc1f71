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
  - The unit runs a small supervisor, which the module brings along, and the supervisor runs the script. It reports
    ready at the first step. It feeds systemd's watchdog only while steps advance. Its exit code tells systemd whether
    another start makes sense. C(systemctl status) shows step, losses, speed and time left.
  - A running training is restarted or stopped only with O(state=restarted), O(state=stopped), O(state=absent) or
    C(training_apply=restart_after_save). Otherwise the module updates changed files and reports that the training runs
    with older settings.
  - A stop is done when no process is left, a start when the first step was made. Both may take long. The action plugin
    polls the host meanwhile and shows the progress. The first step needs all hosts of the run, which may be more than
    Ansible's forks. So a second task waits for the start, with O(state=awaited).
  - A finished run stays finished, also after a reboot. Only O(state=restarted) starts it again.
  - A checkpoint is whole when both safetensors files have their declared length, and all optimizer files,
    C(scheduler.pt) and C(data_status.pt) are complete archives. The trainer alone would resume from the newest one,
    whole or not.
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
options:
  state:
    description:
      - V(started) - the unit exists, starts after a reboot, and was started unless the run is finished.
      - V(restarted) - the same, and the training is started again, a finished run too.
      - V(stopped) - the unit exists and has no process. C(training_stop) says how a running training ends.
      - V(present) - the unit exists. It is neither started nor stopped.
      - V(absent) - unit and record are removed. Results and checkpoints stay.
      - V(awaited) - changes nothing, and waits for the first step of a start (RV(waiting) of the earlier task is
        C(start)). Fails with failure class and log lines when the start fails.
      - V(queried) - changes nothing, and returns the present state of the training.
      - Without a value the action plugin takes C(training_state).
    type: str
    choices: [started, stopped, restarted, present, absent, awaited, queried]
    default: started
  topology:
    description: The host's place in its run, as the plan has it; filled in by the action plugin.
    type: dict
    default: {}
  peer_secret:
    description:
      - Secret of the run, 64 hexadecimal digits, by which its hosts trust each other. The action plugin makes one for
        all hosts of the run when C(new_secret) of O(topology) says that they share none. Without a value the host keeps
        its secret.
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
      merge:
        description: The unit after it, which merges adapters; empty where nothing is merged.
        type: str
        default: ""
      evaluation:
        description: The unit after these, which evaluates the run; empty where nothing is evaluated.
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
      description: Stage, status line and age in seconds of the supervisor's last report; null without one.
      type: dict
    failure:
      description: Class, line and surrounding lines of the failure that ended the training; null without one.
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
  description: C(start) while a start goes on, for O(state=awaited). C(stop) while the action plugin waits for a stop.
  returned: success
  type: str
findings:
  description: Findings, for instance that the training runs with older settings.
  returned: success
  type: list
  elements: dict
"""

import os
from dataclasses import fields
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown, wire
from ..module_utils.core.errors import reported
from ..module_utils.core.topology import Topology
from ..module_utils.peers.secret import fingerprint
from ..module_utils.roles.training import apply as training_apply
from ..module_utils.roles.training.have import Have
from ..module_utils.roles.training.observe import observed
from ..module_utils.roles.training.report import report_of
from ..module_utils.roles.training.unit_host import Host
from ..module_utils.roles.training.want import Texts, Want
from ..module_utils.system import host_lock

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
        **host_lock.ARGUMENT,
        "texts": {"type": "dict", "default": {}, "options": {one.name: TEXT for one in fields(Texts)}},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    secret, state = module.params["peer_secret"], module.params["state"]
    topology, texts = Topology.from_dict(module.params["topology"]), Texts(**module.params["texts"])
    want = Want(module.params["settings"], topology, fingerprint(secret) if secret else "", texts)
    host = Host(secret=secret)

    def report(have: Have) -> Any:
        return wire.to_dict(report_of(observed(have, want), want))

    with reported(module.fail_json, lambda: shown.result({"training": report(host.read(want))})):
        if state in ("awaited", "queried"):
            looked = {"training": report(host.read(want)), "steps": [], "findings": [], "waiting": ""}
            module.exit_json(**shown.result({"changed": False, **looked}))
        with host_lock.held(module.params["controller"]) as hold:
            done = training_apply.converge(host, want, state, module.check_mode, SETTLE)
            hold.over = done.waiting != "stop"
    for found in done.warnings:
        module.warn(shown.line(f"{found.code}: {found.found}; {found.because}; {found.remedy}"))
    result = {
        "changed": bool(done.steps),
        "training": report(done.after),
        "steps": list(done.steps),
        "findings": [found.as_dict() for found in done.warnings],
        "waiting": done.waiting,
        "diff": training_apply.difference(done, want, state),
    }
    module.exit_json(**shown.result(result))


if __name__ == "__main__":
    main()
