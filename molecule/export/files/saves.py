"""Writes a base and whole checkpoints of its model. python3 saves.py BASE CHECKPOINTS STEP..."""

import json
import struct
import sys
import zipfile
from pathlib import Path


def weights(path, pair):
    """48 numbers of bfloat16, each these two bytes."""
    head = {"layer.weight": {"dtype": "BF16", "shape": [6, 8], "data_offsets": [0, 96]}}
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + pair * 48)


def state(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


base, checkpoints = Path(sys.argv[1]), Path(sys.argv[2])
base.mkdir(parents=True)
weights(base / "ema.safetensors", b"@?")
for name in ("ae.safetensors", "llm_config.json"):
    (base / name).write_text(name)
for step in sys.argv[3:]:
    folder = checkpoints / f"{int(step):07d}"
    folder.mkdir(parents=True)
    for name in ("ema.safetensors", "model.safetensors"):
        weights(folder / name, bytes([int(step), 0x3F]))
    for name in ("optimizer.00000-of-00001.pt", "scheduler.pt", "data_status.pt"):
        state(folder / name)
