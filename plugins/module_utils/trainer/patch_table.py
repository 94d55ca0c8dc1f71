"""Patches of the deployed code by the settings. On one file they lie in the order of `known()`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..core.settings import Settings
from . import patch_frozen, patch_lean, patch_lora, patch_no_ema, patch_optimizer
from .patch import Patch

WITHOUT_EMA: tuple[Patch, ...] = (patch_no_ema.FSDP_UTILS, patch_no_ema.TRAINER)
_FROZEN = (*WITHOUT_EMA, patch_frozen.FSDP_UTILS, patch_frozen.TRAINER)
PROFILES: dict[str, tuple[Patch, ...]] = {
    "full": (),
    "frozen": _FROZEN,
    "lora": (*_FROZEN, patch_lora.FSDP_UTILS, patch_lora.TRAINER),
}
OPTIMIZER: tuple[Patch, ...] = (patch_optimizer.TRAINER,)
_LEAN = (patch_lean.FSDP_UTILS, patch_lean.BESIDE_LORA)  # one or the other, below what follows
_STREAMED = (patch_lean.STREAMED, patch_lean.TRAINER)
LEAN: dict[str, tuple[Patch, ...]] = {
    "full": (patch_lean.FSDP_UTILS, patch_lean.TRAINER),
    "frozen": (patch_lean.FSDP_UTILS, *_STREAMED),
    "lora": (patch_lean.BESIDE_LORA, *_STREAMED),
}
NONE: Mapping[str, Any] = {  # settings that want no patch
    "training_profile": "full",
    "run_config_ema": 1.0,
    "run_config_optimizer": "adamw",
    "canvas_code_lean": False,
}


def wanted(settings: Settings, path: str = "", built_in: Collection[str] = ()) -> tuple[Patch, ...]:
    """In the order in which they are applied; of one file, where a path is given. `built_in`: settings that the code
    follows without a patch (built_in.py)."""
    profile = str(settings.get("training_profile") or "full")
    asked = {f"training_profile: {profile}": PROFILES[profile]}
    if profile == "full" and no_ema(settings):
        asked["run_config_ema: 0"] = WITHOUT_EMA
    if own_optimizer(settings):
        asked[f"run_config_optimizer: {settings['run_config_optimizer']}"] = OPTIMIZER
    if settings.get("canvas_code_lean"):
        asked["canvas_code_lean: true"] = LEAN[profile]
    patches = (patch for what, group in asked.items() if what not in built_in for patch in group)
    return tuple(patch for patch in patches if path in ("", patch.path))


def averages(settings: Settings, built_in: Collection[str] = ()) -> bool:
    """True where copies of one shard each train one model: adapters do, as does the lean patch, or the code itself."""
    if str(settings.get("training_profile") or "full") == "lora" or "run_config_num_shard: 1" in built_in:
        return True
    return bool(settings.get("canvas_code_lean")) and "canvas_code_lean: true" not in built_in


def own_optimizer(settings: Settings) -> bool:
    """True where run_config_optimizer is another than upstream's."""
    return str(settings.get("run_config_optimizer") or "adamw") != "adamw"


def no_ema(settings: Settings) -> bool:
    """True where run_config_ema asks for no copy; another value that is no number is judged where flags are."""
    try:
        return float(settings.get("run_config_ema", 1)) == 0
    except (TypeError, ValueError):
        return False


def known(path: str = "") -> tuple[Patch, ...]:
    """Every patch that there is, of one file where a path is given."""
    groups = (WITHOUT_EMA, *PROFILES.values(), OPTIMIZER, _LEAN, *LEAN.values())
    return tuple(dict.fromkeys(patch for patches in groups for patch in patches if path in ("", patch.path)))


def paths() -> tuple[str, ...]:
    """The files that may be patched, below canvas_code_dir."""
    return tuple(dict.fromkeys(patch.path for patch in known()))
