#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Thin shell over nvidia_files.converge()."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_host
short_description: Look at the GPUs of a host, and prepare what its driver and CUDA toolkit need
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Observes GPUs, driver and toolkit, and decides what is missing. Installs nothing itself. The role C(nvidia) passes
    RV(work) to a unit on the host, with NVIDIA's repository and its checked key.
  - Writes the profile with C(CUDA_HOME), C(PATH) and C(LD_LIBRARY_PATH), and keeps nouveau from being loaded.
  - Keeps a working driver that is new enough. Does nothing on a host without GPUs (C(nvidia_gpu_expected=false)).
extends_documentation_fragment: [canvas.fleet.attributes, canvas.fleet.attributes.roles, canvas.fleet.attributes.lock]
"""

EXAMPLES = r"""
- name: See what the GPUs of this host need
  canvas.fleet.nvidia_host:
  register: nvidia
"""

RETURN = r"""
state:
  description: V(works), V(absent) or V(broken).
  returned: success
  type: str
detail:
  description: GPUs and driver in a few words, or what nvidia-smi says when it can't work.
  returned: success
  type: str
reasons:
  description: What is missing, as sentences.
  returned: success
  type: list
  elements: str
packages:
  description: Packages that are missing.
  returned: success
  type: list
  elements: str
work:
  description: What is left for the worker C(nvidia).
  returned: success
  type: dict
  contains:
    wanted:
      description: Whether anything is left.
      type: bool
restart:
  description: True when a restart is needed, allowed, and no training runs.
  returned: success
  type: bool
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core import shown
from ..module_utils.core.errors import reported
from ..module_utils.roles.nvidia import files as nvidia_files
from ..module_utils.system import host_lock


def main() -> None:
    os.umask(0o022)  # a login with 027 or 077 would close what the training's account has to read
    spec = {"settings": {"type": "dict", "default": {}}, **host_lock.ARGUMENT}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    with reported(module.fail_json), host_lock.held(module.params["controller"]):
        result = nvidia_files.converge(module.params["settings"], module.check_mode)
    for warning in result.pop("warnings"):
        module.warn(shown.line(warning))
    module.exit_json(**shown.result(result))


if __name__ == "__main__":
    main()
