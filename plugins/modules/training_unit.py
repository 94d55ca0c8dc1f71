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
  - A training that runs is never restarted or stopped unless O(state=restarted), O(state=stopped) or O(state=absent)
    says so. When the unit's text or the script changed meanwhile, the file is updated and the result says that the
    training runs with older settings.
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
      - V(started) - the unit is there, comes back after a reboot, and runs, unless the run is finished.
      - V(restarted) - the same, and the training is started anew now; finished runs too.
      - V(stopped) - the unit is there, and no process of it is left.
      - V(present) - the unit is there; whether it runs is left as it is.
      - V(absent) - unit and record are gone. Results and checkpoints are never touched.
      - V(queried) - nothing is changed; the result tells of the training as it is.
    type: str
    choices: [started, stopped, restarted, present, absent, queried]
    default: started
  unit:
    description: Name of the unit, without C(.service).
    type: str
    required: true
  run:
    description: Name of the run, for people.
    type: str
    required: true
  user:
    description: User that the training runs as.
    type: str
    required: true
  group:
    description: Its group.
    type: str
    required: true
  script:
    description: The script that starts the trainer; run by C(/bin/bash).
    type: str
    required: true
  working_dir:
    description: Folder that the script is started in.
    type: str
    required: true
  results_dir:
    description: Folder of the trainer's C(log.txt); made when missing, writable for the training.
    type: str
    required: true
  checkpoint_dir:
    description: Folder of the checkpoints; made when missing, writable for the training.
    type: str
    required: true
  state_dir:
    description: Folder for the record of starts and ends, and for the trainer's error stream.
    type: str
    default: /var/lib/canvas-fleet
  inputs:
    description: Further files that a start reads; a change of one is told of while an older training runs.
    type: list
    elements: str
    default: []
  wandb_key_file:
    description: File on the host with the W&B key, handed over as a credential; empty when W&B is off.
    type: str
    default: ""
  restarts:
    description: How many times an hour a training that failed is started again.
    type: int
    default: 3
  stop_seconds:
    description: How long the processes may take to end before they are killed.
    type: int
    default: 60
  settle:
    description: Seconds that a training must live after its start; a proof that it began, not that it trains.
    type: float
    default: 3.0
"""

EXAMPLES = r"""
- name: Start the training
  canvas.fleet.training_unit:
    unit: canvas-training-atlas
    run: atlas
    user: blockmoving
    group: blockmoving
    script: /srv/blockmoving/BlockMovingSFT/scripts/train_blockmoving.sh
    working_dir: /srv/blockmoving/MathCanvas/BAGEL-Canvas
    results_dir: /srv/blockmoving/outputs/atlas
    checkpoint_dir: /srv/blockmoving/outputs/atlas/checkpoints
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
findings:
  description: What a person should know, for instance that an older training goes on.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.canvas.fleet.plugins.module_utils import training
from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.unit_host import Systemd
from ansible_collections.canvas.fleet.plugins.module_utils.unit_text import Want

TEXT = {"type": "str", "required": True}
WANT = {
    "unit": TEXT,
    "run": TEXT,
    "user": TEXT,
    "group": TEXT,
    "script": TEXT,
    "working_dir": TEXT,
    "results_dir": TEXT,
    "checkpoint_dir": TEXT,
    "state_dir": {"type": "str", "default": "/var/lib/canvas-fleet"},
    "inputs": {"type": "list", "elements": "str", "default": []},
    "wandb_key_file": {"type": "str", "default": "", "no_log": False},  # a path, not the key
    "restarts": {"type": "int", "default": 3},
    "stop_seconds": {"type": "int", "default": 60},
}
STATES = ["started", "stopped", "restarted", "present", "absent", "queried"]


def main() -> None:
    spec = {
        **WANT,
        "state": {"type": "str", "choices": STATES, "default": "started"},
        "settle": {"type": "float", "default": 3.0},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    given = {name: module.params[name] for name in WANT}
    want = Want(**{**given, "inputs": tuple(given["inputs"])})
    host, state = Systemd(), module.params["state"]
    try:
        if state == "queried":
            have = host.read(want)
            module.exit_json(changed=False, training=training.report(have, want), steps=[], findings=[])
        done = training.converge(host, want, state, module.check_mode, module.params["settle"])
    except FleetError as error:
        module.fail_json(msg=str(error), failure=training.report(host.read(want), want)["failure"])
    for found in done.warnings:
        module.warn(f"{found.code}: {found.found}; {found.because}; {found.remedy}")
    module.exit_json(
        changed=bool(done.steps),
        training=training.report(done.after, want),
        steps=list(done.steps),
        findings=[found.as_dict() for found in done.warnings],
        diff=training.difference(done, want, state),
    )


if __name__ == "__main__":
    main()
