"""Samples into batches by token budgets, with all the ways in which the real packer loses samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from data.interleave import Item, Sample


@dataclass(frozen=True)
class Budgets:
    """Tokens, and one count of samples (max_buffer_size)."""

    expected_num_tokens: int
    max_num_tokens: int
    max_num_tokens_per_sample: int
    prefer_buffer_before: int
    max_buffer_size: int = 50


@dataclass(frozen=True)
class Group:
    samples: Iterator[Sample]
    weight: float
    mandatory: bool


@dataclass
class Batch:
    """Whole samples, each a list of items; lengths in tokens."""

    samples: list[list[Item]] = field(default_factory=list)
    sample_lens: list[int] = field(default_factory=list)
    indexes: list[tuple[str, int, list[int]]] = field(default_factory=list)  # data set, worker, position

    @property
    def length(self) -> int:
        return sum(self.sample_lens)


class Packer:
    """Packs without end. `drop` is the probability of leaving out an item, by its kind."""

    def __init__(self, groups: list[Group], budgets: Budgets, drop: dict[str, float], rng: np.random.Generator) -> None:
        self.groups = groups
        self.budgets = budgets
        self.drop = drop
        self.rng = rng
        self.buffer: list[Sample] = []
        self.batch = Batch()

    def batches(self) -> Iterator[Batch]:
        """Raises AssertionError when no group has a weight."""
        if sum(group.weight for group in self.groups) <= 0:
            raise AssertionError("the groups' weights sum up to 0")
        budgets = self.budgets
        while True:
            if self.batch.length == 0:
                self._take_mandatory()
            from_buffer = self.batch.length < budgets.prefer_buffer_before and bool(self.buffer)
            sample = self.buffer.pop(0) if from_buffer else next(self._draw().samples)
            if sample.num_tokens > budgets.max_num_tokens_per_sample:
                print(f"skip a sample with length {sample.num_tokens}")
            elif self.batch.length + sample.num_tokens > budgets.max_num_tokens:
                if len(self.buffer) < budgets.max_buffer_size and not from_buffer:
                    self.buffer.append(sample)
                else:  # this very sample is not kept: with a tight budget each batch costs one
                    print(f"Yielding data with length {self.batch.length}")
                    yield self._finished()
            else:
                self._pack(sample)
                if self.batch.length >= budgets.expected_num_tokens:
                    yield self._finished()

    def _take_mandatory(self) -> None:
        for group in self.groups:
            if not group.mandatory:
                continue
            for sample in group.samples:
                if sample.num_tokens < self.budgets.max_num_tokens_per_sample:
                    self._pack(sample, keep_one_vit=True)
                    break
                print(f"skip a sample with length {sample.num_tokens}")

    def _draw(self) -> Group:
        point = self.rng.random() * sum(group.weight for group in self.groups)
        for group in self.groups:
            point -= group.weight
            if point < 0:
                return group
        return self.groups[-1]

    def _pack(self, sample: Sample, keep_one_vit: bool = False) -> None:
        vit = [place for place, item in enumerate(sample.items) if item.kind == "vit_image"]
        kept_anyway = int(self.rng.choice(vit)) if keep_one_vit and vit else -1
        items = [
            item
            for place, item in enumerate(sample.items)
            if place == kept_anyway or not (item.may_drop and self.rng.random() < self.drop[item.kind])
        ]
        self.batch.samples.append(items)
        self.batch.sample_lens.append(sum(item.tokens + 2 for item in items))
        self.batch.indexes.append((sample.dataset, sample.worker, sample.position))

    def _finished(self) -> Batch:
        batch, self.batch = self.batch, Batch()
        return batch
