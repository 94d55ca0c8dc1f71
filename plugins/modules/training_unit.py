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
    O(apply=restart_after_save) says so. When the unit's text or the script changed meanwhile, the file is updated and
    the result says that the training runs with older settings.
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
      - V(stopped) - the unit is there, and no process of it is left. How a running one ends is O(stop)'s word.
      - V(present) - the unit is there; whether it runs is left as it is.
      - V(absent) - unit and record are gone. Results and checkpoints are never touched.
      - V(awaited) - nothing is changed; waits for the first step of a start (RV(waiting) of the task that began it is
        C(start)). Fails with the class of the failure and the telling lines when the start did.
      - V(queried) - nothing is changed; the result tells of the training as it is.
    type: str
    choices: [started, stopped, restarted, present, absent, awaited, queried]
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
  mounts:
    description: Further folders that a start reads; after a boot the unit waits for the file systems that they lie on.
    type: list
    elements: str
    default: []
  wandb_key_file:
    description: File on the host with the W&B key, handed over as a credential; empty when W&B is off.
    type: str
    default: ""
  restarts:
    description:
      - How many failed starts in a row, without a save between them, are tried again, with growing pauses.
      - Failures that another start would repeat are not tried again (docs/training.md lists the classes).
    type: int
    default: 3
  stop:
    description:
      - With V(after_save) a stop waits for the next save, unless none can come within O(stop_seconds).
      - With V(now) it does not wait, and the steps since the last save are lost.
    type: str
    choices: [after_save, now]
    default: after_save
  stop_seconds:
    description: How long a stop, or a shutdown of the host, waits for a save.
    type: int
    default: 1800
  apply:
    description:
      - What is done with O(state=started) when a running training is older than what lies on the disk. With
        V(next_start) nothing, and the result says so; with V(restart_after_save) it is stopped after its next save and
        started anew.
    type: str
    choices: [next_start, restart_after_save]
    default: next_start
  topology:
    description: As C(fleet_plan.topology) has it (hosts, node_rank, nnodes, num_shard, master_addr).
    type: dict
    default: {}
  num_shard:
    description: Shards of a checkpoint; 0 for those of O(topology).
    type: int
    default: 0
  peer_port:
    description:
      - Port of the run's first host at which the others ask for its checkpoint; V(0) when each host starts from what it
        has itself.
    type: int
    default: 29601
  peer_allow:
    description: Networks that may ask there beside the run's own addresses, for hosts with several.
    type: list
    elements: str
    default: []
  share:
    description: Whether the hosts of a run see one O(checkpoint_dir), on a shared file system.
    type: bool
    default: false
  kept_dir:
    description: Folder for what is kept of checkpoints; empty for one beside them. Outside O(checkpoint_dir).
    type: str
    default: ""
  keep_last:
    description:
      - With V(0) the two newest whole checkpoints stay able to resume, and no folder of a checkpoint is removed.
      - A larger number asks for rotation - so many of the newest whole checkpoints stay able to resume (two at least),
        and older ones are removed whole.
    type: int
    default: 0
  keep_every:
    description: Checkpoints whose step is a multiple of this are kept, too; 0 for none.
    type: int
    default: 0
  save_every:
    description: Steps between two saves, as the trainer is told.
    type: int
    default: 0
  total_steps:
    description: The step that ends the run, as the trainer is told.
    type: int
    default: 0
  auto_resume:
    description: Whether the trainer resumes from its newest checkpoint.
    type: bool
    default: true
  weights_expected:
    description: Stop a training at once that says that it did not read its weights whole.
    type: bool
    default: true
  first_ce_warn:
    description: Warn when the first CE of a start is not below this; 0 for never.
    type: float
    default: 0
  first_ce_stop:
    description: Stop when the first CE of a start is not below this; 0 for never.
    type: float
    default: 0
  load_seconds:
    description: How long the trainer may take from its start to the line that says how many steps it will make.
    type: float
    default: 3600
  first_step_seconds:
    description: How long the first steps may take each, while the compiler works.
    type: float
    default: 1800
  save_seconds:
    description: How long a save may stand still, and the trainer may take from its last step to its end.
    type: float
    default: 900
  step_seconds:
    description: The least that may pass without a step before the training counts as hanging; twice the 99th percentile
      of what steps took when that is more.
    type: float
    default: 30
  peer_secret:
    description:
      - Secret of the run, 64 hexadecimal digits, by which its hosts know each other. The action plugin draws one for
        all hosts of the run when C(new_secret) of O(topology) says that they hold none in common. Without it the host
        keeps the one that it holds.
    type: str
    default: ""
  settle:
    description: Seconds that the module itself waits for what takes time, before the action plugin polls.
    type: float
    default: 3.0
"""

EXAMPLES = r"""
- name: Start the training
  canvas.fleet.training_unit: &training
    unit: canvas-training-atlas
    run: atlas
    user: blockmoving
    group: blockmoving
    script: /srv/blockmoving/BlockMovingSFT/scripts/train_blockmoving.sh
    working_dir: /srv/blockmoving/MathCanvas/BAGEL-Canvas
    results_dir: /srv/blockmoving/outputs/atlas
    checkpoint_dir: /srv/blockmoving/outputs/atlas/checkpoints
  register: training

- name: Wait for its first step
  canvas.fleet.training_unit:
    <<: *training
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
      description: Stage, status line and age in seconds of what the supervisor told last; empty without one.
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
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.errors import reported
from ..module_utils.peers.secret import fingerprint
from ..module_utils.roles.training import apply as training_apply
from ..module_utils.roles.training import report as training_report
from ..module_utils.roles.training.host import Host
from ..module_utils.roles.training.want import Want, of_topology

TEXT = {"type": "str", "required": True}
WANT: dict[str, dict[str, Any]] = {
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
    "mounts": {"type": "list", "elements": "str", "default": []},
    "wandb_key_file": {"type": "str", "default": "", "no_log": False},  # a path, not the key
    "restarts": {"type": "int", "default": 3},
    "stop": {"type": "str", "choices": ["after_save", "now"], "default": "after_save"},
    "stop_seconds": {"type": "int", "default": 1800},
    "apply": {"type": "str", "choices": ["next_start", "restart_after_save"], "default": "next_start"},
    "peer_port": {"type": "int", "default": 29601},
    "peer_allow": {"type": "list", "elements": "str", "default": []},
    "share": {"type": "bool", "default": False},
    "kept_dir": {"type": "str", "default": ""},
    "keep_last": {"type": "int", "default": 0},
    "keep_every": {"type": "int", "default": 0},
    "save_every": {"type": "int", "default": 0},
    "total_steps": {"type": "int", "default": 0},
    "auto_resume": {"type": "bool", "default": True},
    "weights_expected": {"type": "bool", "default": True},
    "first_ce_warn": {"type": "float", "default": 0},
    "first_ce_stop": {"type": "float", "default": 0},
    "load_seconds": {"type": "float", "default": 3600},
    "first_step_seconds": {"type": "float", "default": 1800},
    "save_seconds": {"type": "float", "default": 900},
    "step_seconds": {"type": "float", "default": 30},
}
STATES = ["started", "stopped", "restarted", "present", "absent", "awaited", "queried"]


def main() -> None:
    os.umask(0o022)  # a login with 027 or 077 would close what the training's account has to read
    spec = {
        **WANT,
        "topology": {"type": "dict", "default": {}},
        "num_shard": {"type": "int", "default": 0},
        "peer_secret": {"type": "str", "default": "", "no_log": True},
        "state": {"type": "str", "choices": STATES, "default": "started"},
        "settle": {"type": "float", "default": 3.0},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    given = {name: module.params[name] for name in WANT}
    place = of_topology(module.params["topology"], module.params["num_shard"])
    want = Want(**{**given, **{name: tuple(given[name]) for name in ("inputs", "mounts", "peer_allow")}, **place})
    secret, state = module.params["peer_secret"], module.params["state"]
    if secret:
        want = replace(want, key_id=fingerprint(secret))
    host = Host(secret=secret)
    with reported(module.fail_json, lambda: {"training": training_report.report(host.read(want), want)}):
        if state in ("awaited", "queried"):
            have = host.read(want)
            module.exit_json(
                changed=False, training=training_report.report(have, want), steps=[], findings=[], waiting=""
            )
        done = training_apply.converge(host, want, state, module.check_mode, module.params["settle"])
    for found in done.warnings:
        module.warn(f"{found.code}: {found.found}; {found.because}; {found.remedy}")
    module.exit_json(
        changed=bool(done.steps),
        training=training_report.report(done.after, want),
        steps=list(done.steps),
        findings=[found.as_dict() for found in done.warnings],
        waiting=done.waiting,
        diff=training_apply.difference(done, want, state),
    )


if __name__ == "__main__":
    main()
