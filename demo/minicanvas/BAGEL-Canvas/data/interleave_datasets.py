"""The reader of rows under the name, and with the answers, of the real loader's."""

from __future__ import annotations

from typing import Any

from modeling.tokenizer import Tokenizer

from data.interleave import ReasoningRows
from data.row_groups import RowGroup, known_row_groups
from data.transforms import ImageTransform


class InterleaveReasoningIterableDataset(ReasoningRows):
    def __init__(
        self,
        dataset_name: str,
        transform: ImageTransform,
        tokenizer: Tokenizer,
        vit_transform: ImageTransform,
        data_dir_list: list[str],
        num_used_data: list[int],
        parquet_info: dict[str, Any],
        local_rank: int = 0,
        world_size: int = 1,
        num_workers: int = 8,
        data_status: dict[int, list[int]] | None = None,
    ) -> None:
        self.dataset_name, self.tokenizer = dataset_name, tokenizer
        self.transform, self.vit_transform = transform, vit_transform
        self.rank, self.world_size, self.data_status = local_rank, world_size, data_status
        self.row_groups = self.get_data_paths(data_dir_list, num_used_data, parquet_info)

    def get_data_paths(
        self, data_dir_list: list[str], num_used_data: list[int], parquet_info: dict[str, Any]
    ) -> list[RowGroup]:
        return known_row_groups(data_dir_list, num_used_data, parquet_info)

    def parse_row(self, row: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        """What the packer takes; {} for an unfit row."""
        sample = super().parse_row(row)
        plan = [{"type": item.kind, "enable_cfg": int(item.may_drop), "loss": int(item.loss)} for item in sample.items]
        return {"sequence_plan": plan, "items": sample.items, "num_tokens": sample.num_tokens} if plan else {}
