"""The supervisor's spec, and the file with its code. Pure, except that it reads our own source.

The code goes to the host as one zip, <state_dir>/supervisor/<digest>.pyz: the supervisor and all that it imports of
ours. Its name is the digest of its content. A new version is a new file; a running training keeps its own.
"""

from __future__ import annotations

from functools import lru_cache

from ...system.digests import sha256
from ...system.payload import closure, packed, sources

MAIN = "supervisor/main.py"


@lru_cache(maxsize=1)
def payload() -> tuple[str, bytes]:
    """(name of the file, its content)."""
    _load()
    parts = closure(MAIN, sources())
    digest = sha256(*(f"{name}\0{len(parts[name])}\0".encode() + parts[name] for name in sorted(parts)))
    return f"{digest[:16]}.pyz", packed(parts, MAIN)


def _load() -> None:
    """Ansible packs with a module what the module's sources import: here, what only the payload needs."""
    from ...supervisor import main as supervisor  # noqa: F401 - read, not called


def path(folder: str) -> str:
    """Name of the payload file."""
    return f"{folder}/{payload()[0]}"
