"""Learns the merges of the tokenizer from the puzzles' own words."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

TRAINER = Path(__file__).parent / "BAGEL-Canvas"


def trainer_module(relative: str) -> ModuleType:
    """A file of the trainer as a module; the folder's name is no package name, so it can't be imported plainly."""
    name = "minicanvas_" + relative.removesuffix(".py").replace("/", "_")
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TRAINER / relative)
        if spec is None or spec.loader is None:
            raise ImportError(f"{relative} is no file of the trainer")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


tokenizer = trainer_module("modeling/tokenizer.py")


def learn_merges(texts: Iterable[str], limit: int) -> list[tuple[str, str]]:
    """Up to `limit` merges, the most frequent pair first; ties are broken by the alphabet, so they are repeatable."""
    counts = Counter(word for text in texts for word in tokenizer.words(text))
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in counts.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        joined: Counter[tuple[str, ...]] = Counter()
        for word, count in counts.items():
            joined[tokenizer.merged(word, best)] += count
        counts = joined
    return merges
