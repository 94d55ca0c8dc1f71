"""The patches of training_profile in the deployed code: which stand in it, which should, and bringing them there.

The same look gives the digests by which the upstream code is known (`upstream`): of each file without our own part.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from ...core.errors import FleetError
from ...findings.finding import Finding, finding
from ...system import files, managed_files
from ...system.digests import sha256
from ...trainer import known as upstream
from ...trainer import patch as patches
from ...trainer import patch_table
from ...trainer.patch import Patch
from .git import Ours, same_repo


def profile(settings: Mapping[str, Any]) -> str:
    return str(settings.get("training_profile") or "full")


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"digests": path to SHA-256 without our own part ("" where there is no file), "patched": [paths]}."""
    top, code = str(settings["canvas_code_checkout"]), str(settings["canvas_code_dir"])
    ours = Ours.of(settings)
    digests, patched = {}, []
    for path in sorted({*upstream.FILES, *(patch.path for patch in patch_table.known())}):
        full = os.path.join(code, path)
        data = None
        with contextlib.suppress(OSError, FleetError):
            data = managed_files.read(full)
        own = data
        with contextlib.suppress(FleetError):  # a broken marker is an edit
            own = ours.stripped(os.path.relpath(full, top), data) if data is not None else None
        digests[path] = sha256(own) if own is not None else ""
        if own != data and path != "data/dataset_info.py":
            patched.append(path)
    return {"digests": digests, "patched": patched}


def reasons(seen: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """What is to be patched or taken back; files that cannot be patched are findings, not reasons."""
    named = profile(settings)
    wanted = patch_table.PROFILES[named]
    found = []
    for patch in patch_table.known():
        there = patch.path in seen["patched"]
        if there and patch not in wanted:
            found.append(f"{patch.path} is patched, which training_profile {named} does not want")
        elif patch in wanted and not there and _state(patch, seen) == "pristine":
            found.append(f"{patch.path} lacks the patch of training_profile {named}")
    return found


def findings(seen: Mapping[str, Any], settings: Mapping[str, Any], commit: str) -> list[Finding]:
    """What is not known of the code as it stands."""
    found = [*_patch_findings(seen, settings)]
    if upstream.is_bagel(seen["digests"]):
        return [*found, not_supported(f"{settings['canvas_code_dir']}: files of ByteDance-Seed/Bagel")]
    if seen["digests"].get("train/pretrain_unified_navit.py") == upstream.DEBUG_BROKEN:
        found += _debug_broken(settings)
    compared = upstream.compare(seen["digests"])
    if compared.known:
        return found
    what = f"commit {commit[:8]}" if commit else "the copy"
    known = " or ".join(one[:8] for one in upstream.COMMITS)
    unsure = f"still sure: {', '.join(compared.holding)}; no longer sure: {', '.join(compared.unsure)}"
    return [
        *found,
        finding(
            "UPSTREAM_UNKNOWN",
            found=f"{what}: {compared.differences()}",
            expected=f"the files of {known}; {unsure if compared.holding else 'no rule is sure'}",
            variable="canvas_code_commit",
        ),
    ]


def _patch_findings(seen: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Finding]:
    found = []
    for patch in patch_table.PROFILES[profile(settings)]:
        if patch.path not in seen["patched"] and _state(patch, seen) != "pristine":
            found.append(unknown(patch, str(seen["digests"].get(patch.path, ""))))
    return found


def in_the_way(seen: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Finding]:
    """While the code is to become another version: a person's edit in a file to be patched, which would stay."""
    patched = Ours.of(settings).patched
    wanted = {patch.path: patch for patch in patch_table.PROFILES[profile(settings)]}
    saved = seen.get("in_the_way") or [] if settings["canvas_code_local_edits"] == "stash" else []
    found = []
    for path in seen["edits"]:
        patch = wanted.get(patched.get(path, ""))
        if patch and path not in saved:
            found.append(unknown(patch, str(seen.get("code", {}).get("digests", {}).get(patch.path, ""))))
    return found


def unknown(patch: Patch, digest: str) -> Finding:
    """A file that is to be patched, and is none of those that the patch knows; no digest: there is no file."""
    return finding(
        "UPSTREAM_FILE_UNKNOWN",
        found=f"{patch.path}: SHA-256 {digest or 'of no file'}",
        expected=f"SHA-256 {' or '.join(sorted(patch.after))}",
        variable="training_profile",
    )


def _state(patch: Patch, seen: Mapping[str, Any]) -> str:
    return patches.state(patch, str(seen["digests"].get(patch.path, "")))


def _debug_broken(settings: Mapping[str, Any]) -> list[Finding]:
    count = settings.get("run_config_debug_batches") or 0
    if count < 1:
        return []
    variable = "run_config_debug_batches"
    return [finding("DEBUG_BATCHES_BROKEN", found=f"debug_batches {count} at 4bcc604", expected="0", variable=variable)]


def of_bagel(settings: Mapping[str, Any]) -> list[Finding]:
    """The finding for a repository that is another code base, told before anything is cloned."""
    repo = str(settings.get("canvas_code_repo") or "")
    if settings["canvas_code_source"] == "controller" or not same_repo(repo.lower(), upstream.BAGEL_REPO.lower()):
        return []
    return [not_supported(f"canvas_code_repo: {repo}")]


def not_supported(what: str) -> Finding:
    expected = "shiwk24/MathCanvas, whose BAGEL-Canvas can read interleaved reasoning data"
    return finding("UPSTREAM_NOT_SUPPORTED", found=what, expected=expected, variable="canvas_code_repo")


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
