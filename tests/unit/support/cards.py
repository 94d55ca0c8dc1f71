"""GPUs as nvidia-smi names their size, and the profiles that users run, for tests of the planner."""

from __future__ import annotations

from typing import Any

MIB = 2**20
CARDS = {  # MiB as nvidia-smi says
    "4090": 24564,
    "5090": 32607,
    "A100-40": 40960,
    "L40S": 46068,
    "A100-80": 81920,
    "H100": 81559,
    "H200": 143771,
    "B200": 183359,
}
FROZEN: dict[str, Any] = {"freeze_llm": True, "freeze_vit": True, "patched": True}
PROFILES: dict[str, dict[str, Any]] = {
    "full": {},
    "full offload": {"offload": True},
    "frozen": {**FROZEN, "ema_copy": False},
    "frozen EMA": FROZEN,
    "frozen offload": {**FROZEN, "ema_copy": False, "offload": True},
}
