"""The state from which a start would resume: the newest checkpoint, and the earlier script.

The trainer takes the folder with the highest number, whole or not (MathCanvas cc48f16, train/train_utils.py). Reads a
few kilobytes: data_status.pt, the header of model or adapters, and the scripts. Never raises for what is absent.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, replace

from ...core.errors import FleetError
from ...core.settings import Settings
from ...system import files, folders, limits
from ...system.digests import sha256
from ...trainer import checkpoint, data_status
from ...trainer import safetensors as safetensors_header

POSITIONS = {"latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed"}  # computed, never loaded
_KEY = re.compile(rb"WANDB_API_KEY\s*=\s*[\"']?([A-Za-z0-9_-]{8,})")
_PLACEHOLDER = re.compile(rb"your|xxx|key", re.IGNORECASE)


@dataclass(frozen=True)
class Resume:
    """`step`: None when there is nothing to resume from. `workers`: the loader's, by rank. `model`, `weights`: a digest
    of names and shapes each, of checkpoint and model folder; for adapters, of the header of their base. `keys`: files
    that hold a W&B key."""

    step: int | None = None
    path: str = ""
    workers: tuple[tuple[int, ...], ...] | None = None
    model: str = ""
    weights: str = ""
    keys: tuple[str, ...] = ()


def observe(settings: Settings) -> Resume:
    found = Resume(keys=tuple(keys(os.path.dirname(str(settings["run_config_script"])))))
    folder = str(settings["training_checkpoint_dir"])
    step, name = newest(folder)
    if step is None:
        return found
    path = os.path.join(folder, name)
    known = data_status.workers(os.path.join(path, "data_status.pt"), str(settings["dataset_group"]))
    weights = os.path.join(str(settings["weights_dir"]), "ema.safetensors")
    base = checkpoint.examine(path, step).adapter
    return replace(
        found,
        step=step,
        path=path,
        workers=None if known is None else tuple(map(tuple, known)),
        model=base.base if base else fingerprint(os.path.join(path, "model.safetensors")),
        weights=header_digest(weights) if base else fingerprint(weights),
    )


def newest(folder: str) -> tuple[int | None, str]:
    """Number and name of the folder that auto_resume takes; (None, "") when there is none."""
    try:
        names = [name for name in folders.names(folder) if re.fullmatch(r"[0-9]+", name)]
    except OSError:
        names = []
    names = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    return max(((int(name), name) for name in names), default=(None, ""))


def fingerprint(path: str) -> str:
    """One digest of the names and shapes of all weights but the computed ones; "" when it cannot be read."""
    try:
        shapes = safetensors_header.from_file(path).shapes
    except (OSError, FleetError):
        return ""
    text = "\n".join(f"{name} {shape}" for name, shape in sorted(shapes.items()) if name not in POSITIONS)
    return sha256(text)


def header_digest(path: str) -> str:
    """Digest of a safetensors file's header; "" when it cannot be read."""
    try:
        return safetensors_header.from_file(path).digest
    except (OSError, FleetError):
        return ""


def keys(folder: str) -> list[str]:
    """Files of the script folder that hold a W&B key. The keys themselves are not kept."""
    try:
        names = folders.names(folder)
    except OSError:
        return []
    return [path for path in (os.path.join(folder, name) for name in names) if _holds_key(path)]


def _holds_key(path: str) -> bool:
    try:
        found = _KEY.findall(files.read(path, limits.SCRIPT_BYTES))
    except OSError:
        return False
    return any(not _PLACEHOLDER.search(key) for key in found)


def flags(script: str) -> dict[str, str]:
    """The trainer's flags in a launch script, by hand or ours, as far as they are literal."""
    at = script.find("torchrun")
    try:
        words = shlex.split(script[at:]) if at >= 0 else []
    except ValueError:
        words = []
    values = {}
    for word, value in zip(words, words[1:]):
        if re.fullmatch(r"--[A-Za-z_][\w-]*", word) and not value.startswith(("--", "$")):
            values[word[2:].replace("-", "_")] = value
    return values
