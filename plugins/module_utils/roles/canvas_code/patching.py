"""Apply the wanted patches to the deployed code, and remove the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from ...core.errors import FleetError
from ...core.settings import Settings
from ...findings.finding import Finding, finding
from ...system import files, managed_files
from ...system.digests import sha256
from ...trainer import patch as patches
from ...trainer import patch_table
from ...trainer.patch import Patch
from . import originals, patched


def unknown(wanted: Sequence[Patch], digest: str) -> Finding:
    """A file to be patched with an unknown digest; an empty digest: the file is missing. It names the profile that
    wants a patch, else the setting of the first one."""
    patch = next((one for one in wanted if one.setting.startswith("training_profile")), wanted[0])
    pristine = {patches.standing(patch_table.known(patch.path), before)[1] for before in patch.after}
    return finding(
        "UPSTREAM_FILE_UNKNOWN",
        found=f"{patch.path}: SHA-256 {digest or 'of no file'}",
        expected=f"SHA-256 {' or '.join(sorted(pristine))}",
        variable=patch.setting.partition(":")[0],
    )


def converge(settings: Settings, *, check: bool) -> list[dict[str, str]]:
    """Apply and remove patches by the settings; returns Ansible's diff of each file that changes.

    Raises FleetError before the first write when a file to be patched is unknown.
    """
    changes, place, made = [], originals.folder(settings), set()
    code = str(settings["canvas_code_dir"])
    found = {path: managed_files.read(os.path.join(code, path)) for path in patch_table.paths()}
    owns = {path: None if have is None else originals.stripped(place, path, have) for path, have in found.items()}
    digests = {path: "" if own is None else sha256(own) for path, own in owns.items()}
    built_in = patched.built_in_of(code, digests)
    for path, have in found.items():
        full, wanted, digest = os.path.join(code, path), patch_table.wanted(settings, path, built_in), digests[path]
        own = owns[path] or b""
        want = own
        if not patches.knows(wanted, digest):
            raise FleetError.of(unknown(wanted, digest))
        for patch in wanted:
            want = patches.apply(patch, want)
        if want != own and not check:
            originals.keep(place, want, own)
            made.add(sha256(want))
        if have is not None and want != have:
            changes.append((full, have, want))
    written = [_write(full, have, want, check=check) for full, have, want in changes]
    if not check:
        originals.drop_others(place, made)
    return written


def take_back(settings: Settings) -> None:
    """Remove all patches before a change of commit; converge() applies the wanted ones."""
    converge(cast("Settings", {**settings, **patch_table.NONE}), check=False)


def _write(full: str, have: bytes, want: bytes, *, check: bool) -> dict[str, str]:
    if not check:
        files.rewrite(full, want)
    return {"before_header": full, "after_header": full, "before": have.decode(), "after": want.decode()}
