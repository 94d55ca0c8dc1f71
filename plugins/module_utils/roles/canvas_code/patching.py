"""Brings the patches of training_profile into the deployed code, and takes them back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...core.errors import FleetError
from ...findings.finding import Finding, finding
from ...system import files, managed_files
from ...system.digests import sha256
from ...trainer import patch as patches
from ...trainer import patch_table
from ...trainer.patch import Patch


def profile(settings: Mapping[str, Any]) -> str:
    return str(settings.get("training_profile") or "full")


def unknown(patch: Patch, digest: str) -> Finding:
    """A file that is to be patched, and is none of those that the patch knows; no digest: there is no file."""
    return finding(
        "UPSTREAM_FILE_UNKNOWN",
        found=f"{patch.path}: SHA-256 {digest or 'of no file'}",
        expected=f"SHA-256 {' or '.join(sorted(patch.after))}",
        variable="training_profile",
    )


def converge(settings: Mapping[str, Any], *, check: bool) -> list[dict[str, str]]:
    """Patch and take back what the profile asks; returns Ansible's diff of each file that changes.

    Raises FleetError before the first write when a file to be patched is not a known one.
    """
    code, wanted = str(settings["canvas_code_dir"]), patch_table.PROFILES[profile(settings)]
    changes = []
    for patch in patch_table.known():
        full = os.path.join(code, patch.path)
        have = managed_files.read(full)
        digest = "" if have is None else sha256(have)
        if patch in wanted and patches.state(patch, digest) in ("absent", "unknown"):
            raise FleetError.of(unknown(patch, digest))
        if have is None:
            continue
        want = patches.apply(patch, have) if patch in wanted else patches.revert(patch, have)
        if want != have:
            changes.append((full, have, want))
    return [_write(full, have, want, check=check) for full, have, want in changes]


def take_back(settings: Mapping[str, Any]) -> None:
    """All patches out, so that another commit can come; converge() puts in what is wanted."""
    converge({**settings, "training_profile": "full"}, check=False)


def _write(full: str, have: bytes, want: bytes, *, check: bool) -> dict[str, str]:
    if not check:
        files.rewrite(full, want)
    return {"before_header": full, "after_header": full, "before": have.decode(), "after": want.decode()}
