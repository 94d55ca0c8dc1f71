# SPDX-License-Identifier: Apache-2.0
"""The secret that the hosts of a run are given: one for all of them, drawn when the first of them asks for it.

It lies in Ansible's own folder of this invocation (0700, removed when ansible-playbook ends), since each host's task is
a process of its own. It is in no result, fact or variable: the controller forgets it, and the hosts keep it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile


def secret_of(run: str, folder: str) -> str:
    """64 hexadecimal digits, the same for all that ask in one folder. Whoever comes first has drawn it."""
    path = os.path.join(folder, f"canvas-fleet-{hashlib.sha256(run.encode()).hexdigest()[:16]}")
    descriptor, new = tempfile.mkstemp(dir=folder)
    with os.fdopen(descriptor, "w", encoding="ascii") as target:
        target.write(secrets.token_hex(32))
    with contextlib.suppress(FileExistsError):
        os.link(new, path)
    os.unlink(new)
    with open(path, encoding="ascii") as source:
        return source.read()
