"""Tokens of a sample, by the arithmetic of the trainer's data code.

Images are exact. Text is counted by the model's tokenizer if its files and the library are available. Else it is
estimated, between its words and: each digit a token (the tokenizer splits numbers so), all other text one token per
three bytes, which is more than English or Chinese needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..system import files

IMAGE_EDGE = 512  # the longest and the shortest edge that both transforms are given
VAE_STRIDE, VIT_STRIDE = 16, 14  # pixels of a token in each direction, of the two transforms
MAX_PIXELS = 14 * 14 * 9 * 1024  # the trainer's own default for both transforms
MARKS = 2  # a start and an end token around each part of a sample


@dataclass(frozen=True)
class Transform:
    """A resize of the trainer: edges in pixels, stride in pixels per token and direction."""

    max_edge: int
    min_edge: int
    stride: int

    def tokens(self, width: int, height: int) -> int:
        """Tokens of an image of this size after the resize (MathCanvas cc48f16, data/transforms.py)."""
        scale = max(min(self.max_edge / max(width, height), 1.0), self.min_edge / min(width, height))
        wide, high = self._scaled(width, height, scale)
        if wide * high > MAX_PIXELS:
            wide, high = self._scaled(wide, high, MAX_PIXELS / (wide * high))
        if max(wide, high) > self.max_edge:
            wide, high = self._scaled(wide, high, self.max_edge / max(wide, high))
        return wide * high // self.stride**2

    def _scaled(self, width: int, height: int, scale: float) -> tuple[int, int]:
        return self._whole(round(width * scale)), self._whole(round(height * scale))

    def _whole(self, value: int) -> int:
        return max(self.stride, int(round(value / self.stride) * self.stride))


@dataclass(frozen=True)
class Transforms:
    """The two transforms of the dataset yaml; the strides are the model's own."""

    vae: Transform = Transform(IMAGE_EDGE, IMAGE_EDGE, VAE_STRIDE)
    vit: Transform = Transform(IMAGE_EDGE, IMAGE_EDGE, VIT_STRIDE)

    def image_tokens(self, width: int, height: int, *, learned: bool) -> int:
        """Tokens of one image: a solution image is learned, so it stands twice as latents (noisy and clean)."""
        latents = 2 if learned else 1
        vae, vit = self.vae.tokens(width, height), self.vit.tokens(width, height)
        return latents * (vae + MARKS) + vit + MARKS


Bounds = tuple[int, int]  # tokens: at least, at most

# What the tokenizer never joins: contractions, words, single digits, signs, blanks (its own expression, without \\p).
PIECE = re.compile(
    r"'(?:[sdmt]|ll|ve|re)|[^\r\n\w]?[^\W\d_]+|\d| ?(?:[^\s\w]|_)+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+", re.IGNORECASE
)
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TOKENIZER_FILES = ("vocab.json", "merges.txt")


def text_bounds(text: str) -> Bounds:
    """Tokens of a text part with its marks as they are estimated: never fewer than its pieces, hardly ever more.

    Blank text has none: the trainer leaves it out.
    """
    text = text.strip()
    if not text:
        return 0, 0
    digits = sum(1 for letter in text if letter.isdigit())
    others = len(text.encode("utf-8", "replace")) - digits
    pieces = sum(1 for _piece in PIECE.finditer(text))
    return pieces + MARKS, max(pieces, digits + -(-max(0, others) // 3)) + MARKS


def counter(folder: str) -> Callable[[str], Bounds] | None:
    """Counts with the tokenizer of a model folder, as the trainer does; None without its files or the library."""
    paths = [Path(folder) / name for name in TOKENIZER_FILES]
    if not folder or not all(path.is_file() for path in paths) or not find_spec("tokenizers"):
        return None
    tokenizer = _tokenizer(*map(str, paths))

    def counted(text: str) -> Bounds:
        text = text.strip()
        tokens = len(tokenizer.encode(text, add_special_tokens=False).ids) + MARKS if text else 0
        return tokens, tokens

    return counted


@lru_cache(maxsize=4)
def _tokenizer(vocabulary: str, merges: str) -> Any:
    """Qwen2's byte-level BPE, from the two files that the trainer reads (not from tokenizer.json)."""
    library = import_module("tokenizers")
    parts = import_module("tokenizers.pre_tokenizers")
    found = library.Tokenizer(library.models.BPE.from_file(vocabulary, merges))
    found.normalizer = library.normalizers.NFC()
    words = parts.Split(library.Regex(SPLIT), behavior="isolated")
    found.pre_tokenizer = parts.Sequence([words, parts.ByteLevel(add_prefix_space=False, use_regex=False)])
    found.add_special_tokens(_special(Path(vocabulary).with_name("tokenizer_config.json")))
    return found


def _special(path: Path) -> list[str]:
    """The marks that count as one token each when a text holds them, such as <|im_start|>."""
    try:
        return [str(one["content"]) for one in files.load(path)["added_tokens_decoder"].values()]
    except (KeyError, TypeError, AttributeError):
        return []
