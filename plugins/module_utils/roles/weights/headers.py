"""What the model's own files say of its size: headers of its weights and its two configs. Reads a few hundred kB.

Where nothing was downloaded yet and the user leaves the count to the model (weights_parameters: 0), the header of the
weights is asked of the hub, by a range request of it alone. Runs on the host, where the model will be fetched from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...core.errors import FleetError
from ...trainer.model import count
from ...trainer.safetensors import Header, from_file, from_url

WEIGHTS, VAE = "ema.safetensors", "ae.safetensors"
CONFIGS = {"llm": "llm_config.json", "vit": "vit_config.json"}
TIMEOUT = 10.0  # seconds for the hub's answer: a look at a host must not hang on it


def observe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"parts": parameters by part, "vae": parameters, "llm": {…}, "vit": {…}, "from": path or address, "problem"}.

    Without weights, and nothing to be asked of the hub: {}.
    """
    folder = Path(str(settings["weights_dir"]))
    try:
        weights, where = _weights(folder, settings)
    except (FleetError, OSError) as error:
        return {"parts": {}, "problem": str(error)}
    if weights is None:
        return {}
    configs = {name: config(folder / file) for name, file in CONFIGS.items()}
    return {"parts": count(weights.shapes), "vae": _vae(folder), **configs, "from": where, "problem": ""}


def _weights(folder: Path, settings: Mapping[str, Any]) -> tuple[Header | None, str]:
    path = folder / WEIGHTS
    if path.is_file():
        return from_file(str(path)), str(path)
    if settings.get("weights_parameters") != 0:
        return None, ""
    url = address(settings, WEIGHTS)
    return from_url(url, timeout=TIMEOUT), url


def address(settings: Mapping[str, Any], name: str) -> str:
    """Where the hub gives out a file of the wanted revision."""
    endpoint = str(settings["weights_endpoint"]).rstrip("/")
    return f"{endpoint}/{settings['weights_repo']}/resolve/{quote(str(settings['weights_revision']), safe='')}/{name}"


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
