"""The environment that every tool of the demo and of the tests runs in, however it was called."""

from __future__ import annotations

import os

from demo.steps import CHECKOUT


def enter() -> None:
    """Our own bin folder first, Debian's administration tools on the path, this checkout's settings, from its root."""
    os.chdir(CHECKOUT)
    os.environ["PATH"] = f"{CHECKOUT / '.venv' / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
    os.environ["ANSIBLE_CONFIG"] = str(CHECKOUT / "ansible.cfg")  # also where the folder is writable for all
    os.environ["MOLECULE_GLOB"] = "molecule/*/molecule.yml"
    # Ansible insists on a UTF-8 locale, which a bare server may not have set.
    os.environ["LC_ALL"] = "C.UTF-8"
