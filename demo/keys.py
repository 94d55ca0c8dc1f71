"""ssh keys of the embedded fleet, made on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path


def keypair(path: Path, comment: str) -> None:
    """An ed25519 key at `path`. Half of a pair never counts as a key."""
    public = path.with_name(f"{path.name}.pub")
    if path.exists() and public.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    for stale in (fresh, fresh.with_name(f"{fresh.name}.pub")):
        stale.unlink(missing_ok=True)
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(fresh)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    fresh.rename(path)
    fresh.with_name(f"{fresh.name}.pub").rename(public)
