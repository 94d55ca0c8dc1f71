# SPDX-License-Identifier: Apache-2.0
"""One digest for the code folder on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: folder_digest
short_description: One digest for all files of a folder on the controller
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Reads every file of the folder, and gives one SHA-256 for names and contents.
  - With it the plan compares a host's copy of the code with the controller's, without sending files.
options:
  _terms:
    description: The folder.
    required: true
  exclude:
    description: Patterns of names to leave out. A folder is left out with its contents.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show the digest
  ansible.builtin.debug:
    msg: "{{ lookup('canvas.fleet.folder_digest', '/home/me/MathCanvas', exclude=['.git']) }}"
"""

RETURN = r"""
_raw:
  description: A SHA-256 for each folder; empty for one that holds no trainer.
  type: list
  elements: str
"""

from typing import Any

from ansible.plugins.lookup import LookupBase

from ..module_utils.roles.canvas_code import copy as code_copy


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        base: Any = self  # ansible's own methods carry no types
        base.set_options(var_options=variables, direct=kwargs)
        exclude = base.get_option("exclude")
        return [_digest(str(folder), exclude) for folder in terms]


def _digest(folder: str, exclude: list[str]) -> str:
    if not folder or code_copy.inner(folder) is None:
        return ""
    return code_copy.digest(code_copy.scan(folder, exclude))
