# SPDX-License-Identifier: Apache-2.0
"""The lines of a lock, from the role's own files or from the user's folder."""

from __future__ import annotations

DOCUMENTATION = r"""
name: env_lock
short_description: The lines of one part of the training environment's lock
version_added: 0.1.0
author: canvas-fleet contributors (@canvas-fleet)
description:
  - Reads C(conda.txt) or C(pip.txt) of a lock, as C(make lock) writes it.
  - A lock may have one part only; the other one is then an empty list.
options:
  _terms:
    description: First the name of a lock in the role C(conda_env), or a folder, or empty for no lock. Then the part.
    required: true
"""

EXAMPLES = r"""
- name: Show the locked packages
  ansible.builtin.debug:
    msg: "{{ lookup('canvas.fleet.env_lock', 'cu126', 'pip') }}"
"""

RETURN = r"""
_raw:
  description: The lines, as one list.
  type: list
  elements: list
"""

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

from ..module_utils.system import files

LOCKS = Path(__file__).resolve().parents[2] / "roles" / "conda_env" / "files" / "locks"


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[list[str]]:
        name, part = str(terms[0] or ""), str(terms[1])
        return [lines(name, part)]


def lines(name: str, part: str) -> list[str]:
    """Of NAME/PART.txt. Raises AnsibleError when there is no such lock."""
    if not name:
        return []
    folder = Path(name).expanduser() if os.sep in name else LOCKS / name
    if not any((folder / f"{one}.txt").is_file() for one in ("conda", "pip")):
        known = ", ".join(sorted(path.name for path in LOCKS.iterdir()))
        raise AnsibleError(f"conda_env_lock: there is no lock in {folder} (the role has {known}; make lock makes one)")
    path = folder / f"{part}.txt"
    return files.text(path).splitlines() if path.is_file() else []
