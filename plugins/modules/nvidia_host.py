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
  - Observes GPUs, driver and toolkit, and decides what is missing. Installs nothing itself; the role C(nvidia) gives
    RV(work) to a unit on the host, with NVIDIA's repository and its key, whose fingerprint was checked.
  - Writes the profile with C(CUDA_HOME), C(PATH) and C(LD_LIBRARY_PATH), and keeps nouveau from being loaded.
  - Leaves alone a driver that works and is new enough, and a host that has no GPU on purpose.
extends_documentation_fragment: [canvas.fleet.attributes]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  platform:
    platforms: posix
options:
  gpu_expected:
    description: V(false) for a host that has no GPU on purpose; then nothing is done.
    type: bool
    default: true
  driver_branch:
    description: Branch of the driver that is installed where none works.
    type: str
    default: "580"
  cuda_version:
    description: CUDA that the training environment is built for.
    type: str
    default: "12.6"
  cuda_home:
    description: Folder of the CUDA toolkit.
    type: str
    default: /usr/local/cuda-12.6
  toolkit:
    description: Whether the toolkit is wanted; torch itself brings what it runs with.
    type: bool
    default: true
  reboot:
    description: Whether RV(restart) may ask for a restart.
    type: str
    choices: [never, ask, when_needed]
    default: never
  hold:
    description: Whether the driver's packages that the role installed are held against unattended upgrades.
    type: bool
    default: true
  repository_url:
    description: NVIDIA's repositories, or a mirror of the same layout (a folder per distribution).
    type: str
    default: https://developer.download.nvidia.com/compute/cuda/repos
  repository_key_url:
    description: The repository's key; empty for the one that lies in it.
    type: str
    default: ""
  repository_fingerprint:
    description: Fingerprint of the key; empty for the known one of the distribution.
    type: str
    default: ""
  busy_ignore_below:
    description: Programs below this folder are ours and don't make a GPU busy.
    type: str
    default: ""
  state_dir:
    description: Where records lie on the host.
    type: path
    default: /var/lib/canvas-fleet
"""

EXAMPLES = r"""
- name: See what the GPUs of this host need
  canvas.fleet.nvidia_host:
    driver_branch: "580"
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
  description: What is left for the worker C(nvidia), and RV(work.wanted), whether that is anything.
  returned: success
  type: dict
restart:
  description: True when a restart is needed, allowed, and no training runs.
  returned: success
  type: bool
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.errors import reported
from ..module_utils.roles.nvidia import files as nvidia_files

SPEC = {
    "gpu_expected": {"type": "bool", "default": True},
    "driver_branch": {"type": "str", "default": "580"},
    "cuda_version": {"type": "str", "default": "12.6"},
    "cuda_home": {"type": "str", "default": "/usr/local/cuda-12.6"},
    "toolkit": {"type": "bool", "default": True},
    "reboot": {"type": "str", "choices": ["never", "ask", "when_needed"], "default": "never"},
    "hold": {"type": "bool", "default": True},
    "repository_url": {"type": "str", "default": "https://developer.download.nvidia.com/compute/cuda/repos"},
    "repository_key_url": {"type": "str", "default": "", "no_log": False},
    "repository_fingerprint": {"type": "str", "default": ""},
    "busy_ignore_below": {"type": "str", "default": ""},
    "state_dir": {"type": "path", "default": "/var/lib/canvas-fleet"},
}


def main() -> None:
    os.umask(0o022)  # a login with 027 or 077 would close what the training's account has to read
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    settings = {f"nvidia_{name}": value for name, value in module.params.items()}
    settings["fleet_state_dir"] = module.params["state_dir"]
    with reported(module.fail_json):
        result = nvidia_files.converge(settings, module.check_mode)
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
