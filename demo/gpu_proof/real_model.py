"""Writes a random model of BAGEL's dimensions in the real layout, tensor by tensor: 29 GB without a copy in memory.

    python real_model.py BAGEL_CANVAS TOKENIZER OUT [LAYERS [fast]]

Like small_model.py, whose classes and layout these are. Fewer LAYERS than BAGEL's 28 make a smaller file of full width.
With `fast` all tensors are cut from one block of random values, and several threads write them: seconds, not a minute.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

LLM = {"hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28, "num_key_value_heads": 4}
VIT = {"hidden_size": 1152, "intermediate_size": 4304, "num_attention_heads": 16, "num_hidden_layers": 27}
VOCABULARY, LAYERS = 152_064, 28
PIECE = 1 << 28  # values made at a time


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in sorted(model.state_dict().items())}


def header(tensors: dict[str, tuple[int, ...]]) -> bytes:
    entries, at = {}, 0
    for name, shape in tensors.items():
        size = 2 * math.prod(shape)
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write(path: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    """Random weights of the usual width, the same ones each time on one kind of device."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    source = torch.Generator(device).manual_seed(0)
    with path.open("wb", buffering=0) as file:
        file.write(header(tensors))
        for shape in tensors.values():
            left = math.prod(shape)
            while left:
                values = torch.randn(min(PIECE, left), generator=source, device=device, dtype=torch.bfloat16)
                data = memoryview((values * 0.02).view(torch.uint8).cpu().numpy())
                while data:
                    data = data[file.write(data) :]
                left -= values.numel()


def write_fast(path: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    """The same shapes, each tensor from another place of one block of random values."""
    import torch

    block = torch.randn(PIECE // 2, generator=torch.Generator().manual_seed(0), dtype=torch.float32) * 0.02
    data = memoryview(block.to(torch.bfloat16).view(torch.uint8).numpy())
    head = header(tensors)
    jobs, at = [], len(head)
    for number, shape in enumerate(tensors.values()):
        size, start = 2 * math.prod(shape), 2 * (number * 7919 * 4096 % len(data) // 4)
        while size:
            part = min(size, len(data) - start, 1 << 26)
            jobs.append((start, part, at))
            start, size, at = (start + part) % len(data), size - part, at + part
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def put(job: tuple[int, int, int]) -> None:
        start, part, place = job
        while part:
            done = os.pwrite(file, data[start : start + part], place)
            start, part, place = start + done, part - done, place + done

    os.write(file, head)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, jobs))
    os.close(file)


def main(canvas: str, tokenizer: str, folder: str, layers: str = str(LAYERS), way: str = "") -> None:
    sys.path[:0] = [canvas, str(Path(__file__).parent)]
    import small_model

    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"):
        shutil.copy(Path(tokenizer) / name, out / name)
    llm = small_model.llm_config(LLM["hidden_size"], int(layers), VOCABULARY)
    small_model.write_json(out / "llm_config.json", {**llm, **LLM})
    small_model.write_json(out / "vit_config.json", {**small_model.vit_config(), **VIT})
    small_model.write_json(out / "config.json", {"model_type": "bagel"})
    model = small_model.build(out, "meta")
    (write_fast if way == "fast" else write)(out / "ema.safetensors", shapes(model))
    print(json.dumps({"parameters": sum(math.prod(shape) for shape in shapes(model).values())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
