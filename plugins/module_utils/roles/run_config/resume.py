"""What a start would resume from, as it lies on the host: the newest checkpoint, and what the earlier script said.

The trainer takes the folder with the highest number, whole or not (MathCanvas cc48f16, train/train_utils.py). Reads a
few kilobytes: data_status.pt, the header of model.safetensors, and the scripts. Never raises for what is absent.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import shlex
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import FleetError
from ...system import files
from ...system.digests import sha256
from ...trainer import safetensors as safetensors_header

POSITIONS = {"latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed"}  # computed, never loaded
SMALL = 1 << 20  # bytes; larger files of a script folder are no scripts, a larger data status is none
# What a file that is cut, or something else, makes of zipfile and pickle.
_BROKEN = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    EOFError,
    OverflowError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    pickle.PickleError,
)
_KEY = re.compile(rb"WANDB_API_KEY\s*=\s*[\"']?([A-Za-z0-9_-]{8,})")
_PLACEHOLDER = re.compile(rb"your|xxx|key", re.IGNORECASE)


@dataclass(frozen=True)
class Resume:
    """`step`: None when there is nothing to resume from. `workers`: the loader's, by rank. `model`, `weights`: a digest
    of names and shapes each, of checkpoint and model folder. `keys`: files that hold a W&B key."""

    step: int | None = None
    path: str = ""
    workers: tuple[tuple[int, ...], ...] | None = None
    model: str = ""
    weights: str = ""
    keys: tuple[str, ...] = ()


def observe(settings: Mapping[str, Any]) -> Resume:
    found = Resume(keys=tuple(keys(os.path.dirname(str(settings["run_config_script"])))))
    folder = str(settings["training_checkpoint_dir"])
    step, name = newest(folder)
    if step is None:
        return found
    path = os.path.join(folder, name)
    known = workers(os.path.join(path, "data_status.pt"), str(settings["dataset_group"]))
    return replace(
        found,
        step=step,
        path=path,
        workers=None if known is None else tuple(map(tuple, known)),
        model=fingerprint(os.path.join(path, "model.safetensors")),
        weights=fingerprint(os.path.join(str(settings["weights_dir"]), "ema.safetensors")),
    )


def newest(folder: str) -> tuple[int | None, str]:
    """Number and name of the folder that auto_resume takes; (None, "") when there is none."""
    try:
        names = [name for name in os.listdir(folder) if re.fullmatch(r"[0-9]+", name)]
    except OSError:
        names = []
    names = [name for name in names if os.path.isdir(os.path.join(folder, name))]
    return max(((int(name), name) for name in names), default=(None, ""))


class _Plain(pickle.Unpickler):
    """Numbers, texts, lists and mappings alone: nothing of the file is executed."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} in a data status")


def workers(path: str, group: str) -> list[list[int]] | None:
    """The loader workers that data_status.pt knows of, by rank; None when it is not there or cannot be read.

    The trainer writes [{group: {worker: [row group, row]}}], one mapping for each rank.
    """
    with contextlib.suppress(*_BROKEN), files.open_plain(path)[0] as source, zipfile.ZipFile(source) as archive:
        inside = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
        if len(inside) == 1 and inside[0].file_size <= SMALL:
            ranks = _Plain(io.BytesIO(archive.read(inside[0]))).load()
            # A rank that has nothing of the group begins its data anew, and looks nothing up.
            return [sorted(int(worker) for worker in (rank or {}).get(group, {})) for rank in ranks]
    return None


def fingerprint(path: str) -> str:
    """One digest of the names and shapes of all weights but the computed ones; "" when it cannot be read."""
    try:
        shapes = safetensors_header.from_file(path).shapes
    except (OSError, FleetError):
        return ""
    text = "\n".join(f"{name} {shape}" for name, shape in sorted(shapes.items()) if name not in POSITIONS)
    return sha256(text)


def keys(folder: str) -> list[str]:
    """Files of the script folder that hold a W&B key. The keys themselves are not kept."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [path for path in (os.path.join(folder, name) for name in names) if _holds_key(path)]


def _holds_key(path: str) -> bool:
    try:
        found = _KEY.findall(files.read(path, SMALL))
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
