# SPDX-License-Identifier: Apache-2.0
"""Addresses of a preset of mirrors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: env_mirror
short_description: An address of a preset of mirrors
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Presets and their addresses stand in C(roles/conda_env/files/mirrors.yml).
options:
  _terms:
    description: The preset, and what is looked for.
    required: true
"""

EXAMPLES = r"""
- name: Show where packages of conda come from in China
  ansible.builtin.debug:
    msg: "{{ lookup('canvas.fleet.env_mirror', 'china', 'channels') }}"
"""

RETURN = r"""
_raw:
  description: The address, or a list of them.
  type: list
  elements: raw
"""

MIRRORS = Path(__file__).resolve().parents[2] / "roles" / "conda_env" / "files" / "mirrors.yml"


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[Any]:
        presets = yaml.safe_load(MIRRORS.read_text())
        preset, what = str(terms[0]), str(terms[1])
        if preset not in presets:
            raise AnsibleError(f"conda_env_mirrors: {preset} is no preset (there are {', '.join(presets)})")
        return [presets[preset][what]]
