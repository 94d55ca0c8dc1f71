# SPDX-License-Identifier: Apache-2.0
"""The secret that the hosts of a run are given: one for all of them, drawn when the first of them asks for it.

It lies in Ansible's own folder of this invocation (0700, removed when ansible-playbook ends), since each host's task is
a process of its own. It is in no result, fact or variable: the controller forgets it, and the hosts keep it.
"""

from __future__ import annotations

import contextlib
import os
import secrets

from ..module_utils.system import files
from ..module_utils.system.digests import sha256


def secret_of(run: str, folder: str) -> str:
    """64 hexadecimal digits, the same for all that ask in one folder. The first one draws it."""
    path = os.path.join(folder, f"canvas-fleet-{sha256(run)[:16]}")
    new = f"{path}.{secrets.token_hex(8)}"
    files.write(new, secrets.token_hex(32).encode(), 0o600)
    with contextlib.suppress(FileExistsError):
        files.link(new, path)
    files.remove(new)
    return files.text(path)
