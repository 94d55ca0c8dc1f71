"""Patches of the deployed code by the settings. On one file they lie in the order of `known()`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.settings import Settings
from . import patch_frozen, patch_lean
from .patch import Patch

PROFILES: dict[str, tuple[Patch, ...]] = {
    "full": (),
    "frozen": (patch_frozen.FSDP_UTILS, patch_frozen.TRAINER),
}
LEAN: dict[str, tuple[Patch, ...]] = {
    "full": (patch_lean.FSDP_UTILS, patch_lean.TRAINER),
    "frozen": (patch_lean.FSDP_UTILS, patch_lean.STREAMED, patch_lean.TRAINER),
}
NONE: Mapping[str, Any] = {"training_profile": "full", "canvas_code_lean": False}  # settings that want no patch


def wanted(settings: Settings, path: str = "") -> tuple[Patch, ...]:
    """In the order in which they are applied; of one file, where a path is given."""
    profile = str(settings.get("training_profile") or "full")
    patches = PROFILES[profile] + (LEAN[profile] if settings.get("canvas_code_lean") else ())
    return tuple(patch for patch in patches if path in ("", patch.path))


def known(path: str = "") -> tuple[Patch, ...]:
    """Every patch that there is, of one file where a path is given."""
    groups = (*PROFILES.values(), *LEAN.values())
    return tuple(dict.fromkeys(patch for patches in groups for patch in patches if path in ("", patch.path)))


def paths() -> tuple[str, ...]:
    """The files that may be patched, below canvas_code_dir."""
    return tuple(dict.fromkeys(patch.path for patch in known()))
