"""What the model's own files say of its size: headers of its weights and its two configs. Reads a few hundred kB."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.errors import FleetError
from ...trainer.model import count
from ...trainer.safetensors import from_file

WEIGHTS, VAE = "ema.safetensors", "ae.safetensors"
CONFIGS = {"llm": "llm_config.json", "vit": "vit_config.json"}


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"parts": parameters by part, "vae": parameters, "llm": {…}, "vit": {…}, "from": path, "problem"}.

    Without weights: {}.
    """
    folder = Path(str(settings["weights_dir"]))
    path = folder / WEIGHTS
    if not path.is_file():
        return {}
    try:
        parts = count(from_file(str(path)).shapes)
    except (FleetError, OSError) as error:
        return {"parts": {}, "problem": str(error)}
    configs = {name: config(folder / file) for name, file in CONFIGS.items()}
    return {"parts": parts, "vae": _vae(folder), **configs, "from": str(path), "problem": ""}


def _vae(folder: Path) -> int:
    try:
        return from_file(str(folder / VAE)).parameters
    except (FleetError, OSError):
        return 0


def config(path: Path) -> dict[str, int]:
    """The whole numbers of a config; {} where it cannot be read."""
    try:
        loaded = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(loaded, dict):
        return {}
    return {key: value for key, value in loaded.items() if isinstance(value, int) and not isinstance(value, bool)}
