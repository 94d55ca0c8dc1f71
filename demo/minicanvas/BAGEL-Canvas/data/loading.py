"""From the yaml to batches: looks up each data set, and packs inside the DataLoader's workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from modeling.tokenizer import Tokenizer
from torch.utils.data import IterableDataset, get_worker_info

from data.dataset_info import DATASET_INFO, DATASET_REGISTRY
from data.packing import Batch, Budgets, Group, Packer


def _looked_up(group: str, args: dict[str, Any], rank: int) -> dict[str, Any]:
    """The group's settings with the folders and info of its data sets. Raises as the real loader does:

    AssertionError without dataset_names, KeyError for an unknown group, name or a missing data_dir.
    """
    if "dataset_names" not in args:
        raise AssertionError
    known: dict[str, Any] = {"data_dir_list": []}
    for name in args.pop("dataset_names"):
        if rank == 0:
            print(f"Preparing Dataset {group}/{name}")
        meta = DATASET_INFO[group][name]
        known["data_dir_list"].append(meta["data_dir"])
        if "parquet_info_path" in meta:
            with open(meta["parquet_info_path"], encoding="utf-8") as file:
                known.setdefault("parquet_info", {}).update(json.load(file))
    for yaml_name, name in (("image_transform_args", "transform"), ("vit_image_transform_args", "vit_transform")):
        if yaml_name in args:
            known[name] = args.pop(yaml_name)
    return {**args, **known}


class PackedDataset(IterableDataset):  # type: ignore[type-arg]
    """Batches without end; each worker packs its own row groups."""

    def __init__(
        self,
        meta: dict[str, dict[str, Any]],
        tokenizer: Tokenizer,
        rank: int,
        world_size: int,
        budgets: Budgets,
        drop: dict[str, float],
        data_status: dict[str, Any] | None = None,
    ) -> None:
        self.budgets, self.drop = budgets, drop
        self.weights: list[tuple[float, bool]] = []
        self.groups = []
        for group, args in meta.items():
            self.weights.append((args.pop("weight", 0.0), args.pop("is_mandatory", False)))
            settings = _looked_up(group, args, rank)
            resume = settings.pop("resume_data_status", True)
            status = data_status.get(group) if data_status is not None and resume else None
            rows = DATASET_REGISTRY[group](
                dataset_name=group,
                tokenizer=tokenizer,
                local_rank=rank,
                world_size=world_size,
                data_status=status,
                **settings,
            )
            self.groups.append(rows)

    def set_epoch(self, seed: int) -> None:
        for rows in self.groups:
            rows.set_epoch(seed)

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 0)
        rng = np.random.default_rng(info.seed if info is not None else None)
        groups = [
            Group(rows.samples(worker, workers), weight, mandatory)
            for rows, (weight, mandatory) in zip(self.groups, self.weights, strict=True)
        ]
        return Packer(groups, self.budgets, self.drop, rng).batches()


def only_one(batches: list[Batch]) -> Batch:
    """The DataLoader's batch size is one packed batch."""
    return batches[0]
