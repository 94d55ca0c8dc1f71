"""Size of the model from the headers of its weights and its two configs. Reads a few hundred kB."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import FleetError
from ...core.settings import Settings
from ...system import files
from ...trainer.model import Read, count
from ...trainer.safetensors import from_file

WEIGHTS, VAE = "ema.safetensors", "ae.safetensors"


def observe(settings: Settings) -> Read | None:
    """None without weights."""
    folder = Path(str(settings["weights_dir"]))
    path = folder / WEIGHTS
    if not path.is_file():
        return None
    try:
        parts = count(from_file(str(path)).shapes)
    except (FleetError, OSError) as error:
        return Read(problem=str(error))
    llm, vit = (config(folder / f"{name}_config.json") for name in ("llm", "vit"))
    return Read(parts, _vae(folder), llm, vit, str(path))


def _vae(folder: Path) -> int:
    try:
        return from_file(str(folder / VAE)).parameters
    except (FleetError, OSError):
        return 0


def config(path: Path) -> dict[str, int]:
    """The whole numbers of a config; {} where it cannot be read."""
    return {
        key: value for key, value in files.load(path).items() if isinstance(value, int) and not isinstance(value, bool)
    }
