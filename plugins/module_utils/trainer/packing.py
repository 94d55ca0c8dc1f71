"""How the trainer packs samples into batches, and which it drops. Pure.

Mirrors PackedDataset.__iter__ of MathCanvas cc48f16, data/dataset_base.py, with one mandatory group. Lengths are in
tokens. Dropout of conditions makes real batches shorter; it is left out, so this is the worst case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from zlib import crc32

BUFFER = 50  # samples that did not fit and wait for a later batch (the trainer's max_buffer_size)
TRIED = 2000  # samples of a simulation: enough for a share within a few per cent


@dataclass(frozen=True)
class Budgets:
    expected: int  # a batch is given out when it has so many tokens
    most: int  # the hard limit of a batch
    per_sample: int  # longer samples are skipped
    buffer_before: int  # the buffer is asked first while a batch is shorter


@dataclass(frozen=True)
class Packed:
    """Fate of `parsed` samples; those in the buffer at the end do not count."""

    parsed: int
    skipped: int  # over the limit per sample
    lost: int  # parsed, and thrown away by the packer

    @property
    def share_lost(self) -> float:
        taken = self.parsed - self.skipped
        return self.lost / taken if taken else 0.0


def enough(longest: int, expected: int) -> int:
    """The smallest hard limit with which no order of samples up to `longest` loses one."""
    return max(2 * longest, expected + longest)


class _Packer:
    def __init__(self, budgets: Budgets) -> None:
        self.budgets = budgets
        self.now = 0
        self.buffer: list[int] = []
        self.skipped = self.lost = 0

    def first(self, tokens: int) -> None:
        """Each batch begins with a fresh sample, whatever the hard limit; one as long as its own limit is skipped."""
        if tokens < self.budgets.per_sample:
            self.now = tokens
        else:
            self.skipped += 1

    def further(self, tokens: int, fresh: bool) -> None:
        if tokens > self.budgets.per_sample:
            self.skipped += 1
        elif self.now + tokens > self.budgets.most:
            if fresh and len(self.buffer) < BUFFER:
                self.buffer.append(tokens)
            else:
                self.lost += 1  # the batch is given out, and the sample in hand is in neither
                self.now = 0
        else:
            self.now += tokens
            if self.now >= self.budgets.expected:
                self.now = 0


def pack(lengths: Iterable[int], budgets: Budgets) -> Packed:
    """Runs the packer until the samples are at an end."""
    packer, parsed = _Packer(budgets), 0
    for tokens in lengths:
        parsed += 1
        if packer.now == 0:
            packer.first(tokens)
        else:
            packer.further(tokens, fresh=True)
        while packer.now and packer.buffer and packer.now < budgets.buffer_before:
            packer.further(packer.buffer.pop(0), fresh=False)
    return Packed(parsed, packer.skipped, packer.lost)


def share_lost(lengths: Mapping[int, int], budgets: Budgets) -> float:
    """The share of samples that is thrown away, for a file with so many samples (values) of each length (keys)."""
    return _share_lost(tuple(sorted(lengths.items())), budgets)


@lru_cache(maxsize=64)  # the hosts of a fleet ask the same
def _share_lost(lengths: Sequence[tuple[int, int]], budgets: Budgets) -> float:
    total = sum(rows for _unused, rows in lengths)
    step = max(1, total // TRIED)
    spread = [tokens for tokens, rows in lengths for _again in range(rows)][::step]
    mixed = [spread[place] for place in sorted(range(len(spread)), key=lambda place: crc32(str(place).encode()))]
    return pack(islice(cycle(mixed), TRIED), budgets).share_lost
