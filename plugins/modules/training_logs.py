#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over roles/training/logs.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: training_logs
short_description: Follow the log and the journal of a training
version_added: 0.2.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Shows the last C(training_logs_lines) lines of the trainer's log and of the unit's journal, then each new line, with
    the host's name in front. All hosts of a play come in one stream.
  - Ends when the training has ended, or with Ctrl-C. The training does not depend on it.
  - Control characters are made visible, and secrets hidden. Changes nothing.
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles]
attributes:
  check_mode:
    description: Shows the last lines, and does not follow.
    support: full
  diff_mode:
    support: none
options:
  state:
    description: The module only looks.
    type: str
    choices: [queried]
    default: queried
  at:
    description: Bytes of the log that were shown; V(-1) begins with the last lines. Filled in by the action plugin.
    type: int
    default: -1
  cursor:
    description: The journal's mark of the last line that was shown; filled in by the action plugin.
    type: str
    default: ""
  lines:
    description: Lines of each that are shown at the beginning; filled in by the action plugin.
    type: int
    default: 20
  controller:
    description: Who asks; filled in by the action plugin.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Follow log and journal
  canvas.fleet.training_logs:
"""

RETURN = r"""
news:
  description: The lines that came, as the action plugin shows them, and where it goes on.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown, wire
from ..module_utils.core.errors import reported
from ..module_utils.roles.training import logs
from ..module_utils.roles.training.want import Want
from ..module_utils.system import host_lock


def main() -> None:
    spec = {
        "state": {"type": "str", "choices": ["queried"], "default": "queried"},
        "settings": {"type": "dict", "default": {}},
        "at": {"type": "int", "default": logs.BEGIN},
        "cursor": {"type": "str", "default": ""},
        "lines": {"type": "int", "default": 20},
        **host_lock.ARGUMENT,
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    given = module.params
    with reported(module.fail_json):
        found = logs.news(Want(given["settings"]), given["at"], given["cursor"], given["lines"])
    module.exit_json(**shown.result({"changed": False, "news": wire.to_dict(found)}))


if __name__ == "__main__":
    main()
