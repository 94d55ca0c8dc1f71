"""Writes the demo's model folder: nine files, as the real model's repository has them. Numpy alone.

What the base model knows beforehand stands in prior.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from demo.minicanvas import prior
from demo.minicanvas.bpe import learn_merges, tokenizer, trainer_module
from demo.minicanvas.prior import PUZZLES_READ, SEED, solutions
from demo.puzzles.puzzle import puzzles, question_text

shapes = trainer_module("modeling/shapes.py")

FILES = (
    "ae.safetensors",
    "config.json",
    "ema.safetensors",
    "llm_config.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "vit_config.json",
    "vocab.json",
)
LLM_CONFIG: dict[str, Any] = {
    "architectures": ["MiniCanvas"],
    "hidden_size": 96,
    "intermediate_size": 384,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 512,
}
VIT_CONFIG: dict[str, Any] = {"hidden_size": 96, "num_hidden_layers": 1, "patch_size": shapes.PATCH}
EXACT = {"language_model.lm_head.weight": 0.02, "language_model.model.embed_tokens.weight": 0.2}
GAINS = {"vit_model.": 16.0, "connector.": 16.0, "vae2llm.": 16.0, ".o_proj.": 0.06, ".down_proj.": 0.06}
# the frequencies that the encoder keeps, and their spread over 600 pictures of the puzzles (down, across → spread)
FREQUENCIES = {(0, 0): 2.7, (0, 1): 1.3, (1, 0): 1.8, (1, 1): 0.8, (0, 2): 0.4, (2, 0): 0.65}
MEAN_OF_LOWEST = 5.5


def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]], dict[str, int]]:
    """Ids of bytes and merges, the merges, and ids of the special tokens after them."""
    texts = [question_text(puzzle) for puzzle in puzzles(PUZZLES_READ, SEED)]
    texts += [text for parts in solutions(PUZZLES_READ) for text in parts]
    special = tokenizer.SPECIAL_TOKENS
    merges = learn_merges(texts, LLM_CONFIG["vocab_size"] - 256 - len(special))
    vocab: dict[str, int] = {}
    for symbol in (*tokenizer.byte_symbols(), *(left + right for left, right in merges)):
        vocab.setdefault(symbol, len(vocab))
    return vocab, merges, {token: len(vocab) + number for number, token in enumerate(special)}


def _initial(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if "layernorm" in name or name.endswith("norm.weight"):
        return np.ones(shape)
    if name.endswith("pos_embed"):
        return prior.sinusoids(np.arange(shape[0]), shape[1], 100.0).astype(np.float32)
    if name.endswith("bias") or name.startswith("llm2vae"):
        return np.zeros(shape)
    values: np.ndarray = rng.standard_normal(shape) * _spread(name, shape[-1])
    return values


def _spread(name: str, fan_in: int) -> float:
    """Of the numbers of a weight. What pictures turn into is large, and what the layers add is small."""
    if name in EXACT:
        return EXACT[name]
    gain = next((gain for part, gain in GAINS.items() if part in name), 0.6)
    return gain / float(np.sqrt(fan_in))


def _encoder() -> np.ndarray:
    """The six lowest cosine frequencies of a patch, for each colour: rows of length one."""
    points = (np.arange(shapes.PATCH) + 0.5) * np.pi / shapes.PATCH
    rows = []
    for colour in range(3):
        for down, across in FREQUENCIES:
            wave = np.zeros((3, shapes.PATCH, shapes.PATCH))
            wave[colour] = np.cos(down * points)[:, None] * np.cos(across * points)[None]
            rows.append(wave.ravel() / np.linalg.norm(wave))
    return np.array(rows)


def _bf16(values: np.ndarray) -> bytes:
    """Rounded to the nearest bfloat16 (ties to even), little-endian."""
    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def _write_tensors(path: Path, tensors: dict[str, np.ndarray], dtype: str) -> None:
    """The safetensors format by hand (its Python interface differs between versions): length, header, numbers."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, values in sorted(tensors.items()):
        packed = _bf16(values) if dtype == "BF16" else np.ascontiguousarray(values, dtype="<f4").tobytes()
        offsets = [len(body), len(body) + len(packed)]
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": offsets}
        body += packed
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_tokenizer(folder: Path) -> Any:
    vocab, merges, special = _vocabulary()
    lines = [" ".join(pair) for pair in merges]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n", encoding="utf-8")
    _write_json(folder / "vocab.json", vocab)
    added = {str(number): {"content": token, "special": True} for token, number in special.items()}
    _write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": added, "tokenizer_class": "Qwen2Tokenizer"})
    model = {"type": "BPE", "vocab": vocab, "merges": lines}
    tokens = [{"id": number, "content": token, "special": True} for token, number in special.items()]
    _write_json(folder / "tokenizer.json", {"version": "1.0", "added_tokens": tokens, "model": model})
    return tokenizer.Tokenizer(vocab, merges, special)


def write_model(folder: Path) -> int:
    """Writes the nine files and returns the number of parameters in ema.safetensors. The same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    made = _write_tokenizer(folder)
    _write_json(folder / "llm_config.json", LLM_CONFIG)
    _write_json(folder / "vit_config.json", VIT_CONFIG)
    _write_json(folder / "config.json", {"model_type": "minicanvas", "llm_config": LLM_CONFIG})
    rng = np.random.default_rng(SEED)
    wanted = shapes.model_shapes(LLM_CONFIG, VIT_CONFIG)
    tensors = {name: _initial(name, shape, rng) for name, shape in wanted.items()}
    prior.learn(tensors, made, LLM_CONFIG["num_attention_heads"], rng)
    _write_tensors(folder / "ema.safetensors", tensors, "BF16")
    mean = np.tile([MEAN_OF_LOWEST, *[0.0] * (len(FREQUENCIES) - 1)], 3)
    spread = np.tile(list(FREQUENCIES.values()), 3)
    coder = {"encoder.weight": _encoder(), "latent.mean": mean, "latent.scale": spread}
    _write_tensors(folder / "ae.safetensors", coder, "F32")
    return sum(values.size for values in tensors.values())


if __name__ == "__main__":
    import sys

    print(f"{write_model(Path(sys.argv[1]))} parameters")
