"""A byte-level BPE tokenizer that reads vocab.json, merges.txt and tokenizer_config.json of a model folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
_PIECES = re.compile(r" ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+|\s+")


@lru_cache(maxsize=1)
def byte_symbols() -> tuple[str, ...]:
    """The printable symbol of each byte, as GPT-2's files use them: bytes that print stay, the others follow 255."""
    prints = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in prints else next(others)) for byte in range(256))


def words(text: str) -> list[tuple[str, ...]]:
    """A text as words, each a tuple of byte symbols; merges never cross a word."""
    symbols = byte_symbols()
    return [tuple(symbols[byte] for byte in piece.encode("utf-8")) for piece in _PIECES.findall(text)]


def merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """A word with every occurrence of the pair made one symbol."""
    out: list[str] = []
    for symbol in word:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return tuple(out)


class Tokenizer:
    """Ids of text, and text of ids. Special tokens are never made from text."""

    def __init__(self, vocab: dict[str, int], merges: Iterable[tuple[str, str]], special: dict[str, int]) -> None:
        self.vocab = vocab
        self.special = special
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._names = {number: name for name, number in {**vocab, **special}.items()}
        self._known: dict[tuple[str, ...], list[int]] = {}

    @classmethod
    def from_folder(cls, folder: str | Path) -> Tokenizer:
        """Raises FileNotFoundError for a missing file; tokens that the folder lacks get new ids at the end."""
        folder = Path(folder)
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
        merges = [(left, right) for left, right in (line.split(" ") for line in lines if not line.startswith("#"))]
        special = {entry["content"]: int(number) for number, entry in config.get("added_tokens_decoder", {}).items()}
        for token in SPECIAL_TOKENS:
            special.setdefault(token, max([*vocab.values(), *special.values()]) + 1)
        return cls(vocab, merges, special)

    def __len__(self) -> int:
        return len(self.vocab) + len(self.special)

    def token_id(self, token: str) -> int:
        return self.special[token]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in words(text):
            if word not in self._known:
                self._known[word] = [self.vocab[symbol] for symbol in self._merge(word)]
            ids += self._known[word]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        number = {symbol: byte for byte, symbol in enumerate(byte_symbols())}
        parts: list[bytes] = []
        for token in ids:
            name = self._names[token]
            parts.append(name.encode() if name in self.special else bytes(number[symbol] for symbol in name))
        return b"".join(parts).decode("utf-8", errors="replace")

    def _merge(self, word: tuple[str, ...]) -> tuple[str, ...]:
        while len(word) > 1:
            pairs = set(pairwise(word))
            best = min(pairs, key=lambda pair: self._rank.get(pair, len(self._rank)))
            if best not in self._rank:
                break
            word = merged(word, best)
        return word
