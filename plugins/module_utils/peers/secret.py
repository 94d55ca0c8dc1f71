"""The secret of a run: a node that proves it belongs to the run.

The controller draws it, root keeps it on each node (0600), and systemd hands it to the supervisor as a credential: it
is in no argument, environment, log or result. What may be shown is its fingerprint, which does not lead back to 256
random bits.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field

from ..core.errors import FleetError
from ..system import files
from ..system.digests import sha256

CREDENTIAL = "peer_secret"  # its name among the unit's credentials
FORM = 64  # hexadecimal digits


@dataclass(frozen=True)
class RunKey:
    """Proves questions and answers of one run. Two runs that were given one secret have different keys."""

    _key: bytes = field(repr=False)

    def proof(self, kind: str, *parts: object) -> str:
        """HMAC-SHA256 of the parts, none of which may hold a NUL."""
        return hmac.new(self._key, "\0".join((kind, *map(str, parts))).encode(), "sha256").hexdigest()


def run_key(secret: str, run: str) -> RunKey:
    return RunKey(hmac.new(secret.encode(), f"canvas-fleet peers\0{run}".encode(), "sha256").digest())


def is_secret(text: str) -> bool:
    return len(text) == FORM and all(letter in "0123456789abcdef" for letter in text)


def fingerprint(secret: str) -> str:
    """The fingerprint of a secret; empty for an invalid one."""
    return sha256(f"canvas-fleet peer secret\0{secret}")[:16] if is_secret(secret) else ""


def read(path: str) -> str:
    """The secret in a file; "" when there is none."""
    text = files.text(path, FORM + 2).strip()
    return text if is_secret(text) else ""


def key_of_unit(run: str) -> RunKey:
    """The secret from the unit's credentials. Raises FleetError without one."""
    secret = read(f"{os.environ.get('CREDENTIALS_DIRECTORY', '')}/{CREDENTIAL}")
    if not secret:
        raise FleetError(
            "this node does not hold the secret of its run",
            variable="training_peer_port",
            found=f"no credential {CREDENTIAL}",
            expected="the same secret on all nodes of the run",
            remedy="converge all nodes of the run together",
        )
    return run_key(secret, run)
