"""The trainer's own forward pass on one test row: no condition is dropped, noise and times are the row's own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from . import chance
from .deployed import Deployed
from .spec import Spec
from .wire import LossRow

GROUP = "interleave_reasoning"
Tensor = Any  # of torch


class Losses:
    """Computes the loss of rows, as train/pretrain_unified_navit.py of MathCanvas cc48f16 does for a batch of one."""

    def __init__(self, spec: Spec, deployed: Deployed) -> None:
        self.spec, self.deployed = spec, deployed
        deployed.model.timestep_shift = spec.timestep_shift
        deployed.model.train()  # the classes choose the trainer's forward pass by this; nothing in them drops out
        base = import_module("data.dataset_base")
        self._collate = base.collate_wrapper()
        self._packed = base.PackedDataset(
            _config(base, deployed),
            deployed.tokenizer,
            deployed.tokens,
            local_rank=0,
            world_size=1,
            num_workers=1,
        )
        self._rows = _reader(deployed)

    def of(self, row: int, values: Mapping[str, Any]) -> LossRow:
        """The row's mean losses. A row that the trainer's loader refuses has none."""
        chance.start(self.spec.seed, row)
        sample = self._rows.parse_row(values)
        if not sample or not _has_pictures(sample):
            return LossRow(row, None, None, 0, 0)
        data = self._batch(sample)
        ce, mse = self._forward(data)
        return LossRow(row, _mean(ce), _mean(mse), _count(ce), _count(mse))

    def _batch(self, sample: Any) -> dict[str, Any]:
        torch = import_module("torch")
        status = self._packed.pack_sequence(sample, self._packed.set_sequence_status(), force_keep_vit=True)
        packed = {**self._packed.to_tensor(status), "batch_data_indexes": []}
        data: dict[str, Any] = self._collate([packed]).cuda(self.deployed.device).to_dict()
        for name in ("batch_data_indexes", "ce_loss_weights"):
            data.pop(name, None)
        if "mse_loss_indexes" in data:  # of no picture to learn it has no type, and upstream fails
            data["mse_loss_indexes"] = data["mse_loss_indexes"].to(torch.long)
        return data

    def _forward(self, data: dict[str, Any]) -> tuple[Tensor | None, Tensor | None]:
        torch, device = import_module("torch"), self.deployed.device
        kind = next(self.deployed.model.parameters()).dtype
        narrow = torch.amp.autocast(device, enabled=kind == torch.bfloat16, dtype=torch.bfloat16)
        with torch.no_grad(), narrow, chance.on_cpu():
            data["padded_latent"] = self.deployed.vae.encode(_on(data.pop("padded_images"), device))
            losses = self.deployed.model(**data)
        mse = losses["mse"]
        return losses["ce"], None if mse is None else mse.float().mean(dim=-1)


def _config(base: Any, deployed: Deployed) -> Any:
    """Of the packing: shapes as the trainer's flags give them, and nothing dropped."""
    config = deployed.model.config
    return base.DataConfig(
        grouped_datasets={},
        text_cond_dropout_prob=0.0,
        vit_cond_dropout_prob=0.0,
        vae_cond_dropout_prob=0.0,
        vae_image_downsample=config.latent_patch_size * config.vae_config.downsample,
        max_latent_size=config.max_latent_size,
        vit_patch_size=config.vit_config.patch_size,
        max_num_patch_per_side=config.vit_max_num_patch_per_side,
    )


def _reader(deployed: Deployed) -> Any:
    """The trainer's reader of rows, which here reads none by itself."""
    real = import_module("data.interleave_datasets").InterleaveReasoningIterableDataset
    kind = type("Reader", (real,), {"get_data_paths": lambda _self, *_given: [("", 0)]})
    return kind(
        GROUP,
        transform=deployed.vae_transform,
        tokenizer=deployed.tokenizer,
        vit_transform=deployed.vit_transform,
        data_dir_list=[],
        num_used_data=[],
        parquet_info={},
    )


def _has_pictures(sample: Any) -> bool:
    """The trainer's forward pass fails for a batch without any."""
    return any(one["type"] != "text" for one in sample["sequence_plan"])


def _on(value: Tensor, device: str) -> Tensor:
    return value.to(device)


def _mean(values: Tensor | None) -> float | None:
    return None if values is None or not len(values) else float(values.double().mean())


def _count(values: Tensor | None) -> int:
    return 0 if values is None else len(values)
