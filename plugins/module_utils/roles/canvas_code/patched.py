"""Patches in the deployed code, and each file's digest without them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...core.errors import FleetError
from ...core.settings import Settings
from ...system import managed_files
from ...system.digests import sha256
from ...trainer import built_in, patch_table
from ...trainer import known as upstream
from .git import Ours


@dataclass(frozen=True)
class Code:
    """`digests`: path to SHA-256 without patches, "" for a missing file. `patched`: the SHA-256 of patched files.
    `built_in`: settings that this code follows without a patch."""

    digests: Mapping[str, str] = field(default_factory=dict)
    patched: Mapping[str, str] = field(default_factory=dict)
    built_in: tuple[str, ...] = ()


def observe(settings: Settings) -> Code:
    top, code = str(settings["canvas_code_checkout"]), str(settings["canvas_code_dir"])
    ours = Ours.of(settings)
    digests, patched = {}, {}
    for path in sorted({*upstream.FILES, *patch_table.paths()}):
        full = os.path.join(code, path)
        data = None
        with contextlib.suppress(OSError, FleetError):
            data = managed_files.read(full)
        own = data
        with contextlib.suppress(FleetError):  # a broken marker is an edit
            own = ours.stripped(os.path.relpath(full, top), data) if data is not None else None
        digests[path] = sha256(own) if own is not None else ""
        if data is not None and own != data and path != "data/dataset_info.py":
            patched[path] = sha256(data)
    return Code(digests, patched, built_in_of(code, digests))


def built_in_of(code: str, digests: Mapping[str, str]) -> tuple[str, ...]:
    """Settings that the code in this folder follows without a patch. `digests`: of its files, without patches."""
    declared = None
    with contextlib.suppress(OSError, FleetError):
        declared = managed_files.read(os.path.join(code, built_in.NAME))
    return built_in.settings(declared, {path: digests[path] for path in patch_table.paths()})
