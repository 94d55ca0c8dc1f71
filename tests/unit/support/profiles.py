"""The profiles that users run, for tests of the planner."""

from __future__ import annotations

from typing import Any

FROZEN: dict[str, Any] = {"freeze_llm": True, "freeze_vit": True, "patched": True}
PROFILES: dict[str, dict[str, Any]] = {
    "full": {},
    "full offload": {"offload": True},
    "lora": {**FROZEN, "ema_copy": False, "lora": True},
    "lora streamed": {**FROZEN, "ema_copy": False, "lora": True, "offload": True},
    "frozen": {**FROZEN, "ema_copy": False},
    "frozen EMA": FROZEN,
    "frozen offload": {**FROZEN, "ema_copy": False, "offload": True},
}
