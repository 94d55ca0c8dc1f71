"""A trainer that saves as the real one does, a few kilobytes at a time, and can be cut at each of its writes."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.seal import Place
from safetensors.numpy import save as safetensors_bytes

SHARDS = 2
MODEL = ("ema.safetensors", "model.safetensors")
OPTIMIZER = tuple(f"optimizer.{index:05d}-of-{SHARDS:05d}.pt" for index in range(SHARDS))
STATE = (*OPTIMIZER, "scheduler.pt", "data_status.pt")
FILES = (*MODEL, *STATE)  # in the trainer's order of writing
# The same of the profile lora, for any number of ranks.
LORA = ("adapter.safetensors", "optimizer.00000-of-00001.pt", "scheduler.pt", "data_status.pt")
BASE = sha256(b"the header of the base").hexdigest()
RANK = 2


class Killed(BaseException):
    """A process that ends here and now: no `except Exception` of the code under test may live through it."""


def content(name: str, step: int) -> bytes:
    """What the trainer would write: another content for each step, of a size that depends on the file alone."""
    if name == LORA[0]:
        return adapter(step)
    noise = b"".join(sha256(f"{name} {step} {part}".encode()).digest() for part in range(20))[:600]
    if name.endswith(".safetensors"):
        parts = {name: noise[at : at + 200] for name, at in (("embed", 0), ("layer", 200), ("head", 400))}
        return safetensors_bytes({name: numpy.frombuffer(part, dtype=numpy.uint8) for name, part in parts.items()})
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), noise[:100])
        archive.writestr(zipfile.ZipInfo("archive/data/0"), noise[100:])
    return made.getvalue()


def adapter(step: int, **told: str) -> bytes:
    """Adapters of two layers and a trained connector; `told` replaces metadata."""
    chance = numpy.random.default_rng(step)
    shapes = {f"layers.{layer}.q_proj.lora_{part}": shape for layer in range(2) for part, shape in EDGES.items()}
    tensors = {name: chance.random(shape, numpy.float32) for name, shape in {**shapes, "connector.bias": (5,)}.items()}
    metadata = {
        "rank": str(RANK), "alpha": "4.0", "targets": "all", "connectors": "true", "base_header_sha256": BASE, **told,
    }  # fmt: skip
    return safetensors(tensors, "F32", {name: text for name, text in metadata.items() if text})


def safetensors(tensors: Mapping[str, Any], dtype: str, metadata: Mapping[str, str]) -> bytes:
    """The same bytes each time; the library writes metadata in another order each time."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, tensor in tensors.items():
        more = tensor.tobytes()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(more)]}
        data += more
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


EDGES = {"A": (RANK, 5), "B": (7, RANK)}  # of a Linear from 5 to 7


def write(path: Path, text: bytes) -> None:
    path.write_bytes(text)


def writes(folder: Path, step: int, delete: bool = True, files: Sequence[str] = FILES) -> Iterator[Callable[[], None]]:
    """One save in the trainer's order, as the writes that a kill may fall between: half a file each, then deletions."""
    target = folder / f"{step:07d}"
    yield lambda: target.mkdir(parents=True, exist_ok=True)
    for name in files:
        text = content(name, step)
        yield partial(write, target / name, text[: len(text) // 2])
        yield partial(write, target / name, text)
    for old in sorted(folder.iterdir()) if delete and folder.is_dir() else ():
        if old.is_dir() and old.name.isdigit() and int(old.name) < step:
            for path in sorted(old.glob("*.pt")):
                yield path.unlink


def save(folder: Path, step: int, delete: bool = True, upto: int | None = None, files: Sequence[str] = FILES) -> bool:
    """Save a step, killed before write number `upto`; True when the save came to its end."""
    for number, write in enumerate(writes(folder, step, delete, files)):
        if number == upto:
            return False
        write()
    return True


def resumes_from(folder: Path) -> int | None:
    """What the real trainer would load, None for a new beginning. Raises for what it would die of."""
    names = sorted((name for name in os.listdir(folder) if (folder / name).is_dir()), key=lambda name: int(name))
    if not names:
        return None
    newest, step = folder / names[-1], int(names[-1])
    for name in LORA if (newest / LORA[0]).exists() else FILES:
        if (newest / name).read_bytes() != content(name, step):
            raise ValueError(f"{newest}/{name} is not what was saved")
    return step


def everything(root: Path) -> dict[bytes, int]:
    """All contents that lie anywhere under a folder, and how often: names may change, bytes may not go."""
    found: dict[bytes, int] = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            text = path.read_bytes()
            found[text] = found.get(text, 0) + 1
    return found


def place(root: Path) -> Place:
    (root / "checkpoints").mkdir(parents=True, exist_ok=True)
    return Place(str(root / "checkpoints"), str(root / "kept"))
