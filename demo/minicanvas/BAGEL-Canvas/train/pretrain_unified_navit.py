"""The trainer's entry, run by torchrun from this folder: python -m train.pretrain_unified_navit."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import sys
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import yaml
from data.loading import PackedDataset, only_one
from data.packing import Budgets
from modeling.autoencoder import Autoencoder
from modeling.canvas import Canvas
from modeling.tokenizer import Tokenizer
from torch.utils.data import DataLoader

from train import adapters, checkpoints
from train.arguments import DataArguments, ModelArguments, TrainingArguments, parse
from train.flat import FlatModel, Mesh, check_uniform
from train.log import describe, make_logger
from train.loop import Trainer

NCCL_PATIENCE = timedelta(minutes=10)  # how long the real one's ranks wait for a rank that is lost or starves


def _where_from(args: TrainingArguments) -> tuple[str | None, bool, bool]:
    """The folder to load, whether its weights alone, and whether those of ema.safetensors."""
    newest = checkpoints.newest(args.checkpoint_dir) if args.auto_resume else None
    if newest is not None:
        return newest, False, False
    return args.resume_from, args.resume_model_only, args.resume_model_only and args.finetune_from_ema


def _wandb(args: TrainingArguments) -> Any:
    """The module wandb, logged in and started; None where it is disabled. Raises ImportError where it is absent."""
    if not args.enable_wandb:
        return None
    import wandb  # not at the top: the demo's environment goes without it

    wandb.login(key=os.environ.get("WANDB_API_KEY"))
    if dist.get_rank() == 0:
        wandb.init(
            project=args.wandb_project,
            id=f"{args.wandb_name}--{args.wandb_runid}",
            name=args.wandb_name,
            resume=args.wandb_resume,
            mode="offline" if args.wandb_offline else "online",
            config=vars(args),
        )
    return wandb if dist.get_rank() == 0 else None


def _json(folder: str, name: str) -> Any:
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def _build(model_args: ModelArguments, args: TrainingArguments) -> tuple[Canvas, Tokenizer, Autoencoder]:
    """Raises FileNotFoundError for what the model folder lacks (config.json and tokenizer.json are never read)."""
    if args.finetune_from_hf:
        folder = model_args.model_path
        llm, vit = _json(folder, "llm_config.json"), _json(folder, "vit_config.json")
        coder = Autoencoder(os.path.join(folder, "ae.safetensors"))
    else:
        folder = model_args.llm_path
        llm, vit = _json(folder, "config.json"), _json(model_args.vit_path, "config.json")
        coder = Autoencoder(model_args.vae_path)
    return Canvas(llm, vit), Tokenizer.from_folder(folder), coder


def _load(
    folder: str | None, base: str, args: TrainingArguments, logger: logging.Logger, model: Canvas, from_ema: bool
) -> torch.nn.Module | None:
    """The weights, or with lora those of the base and the adapters beside it. Returns the average, if there is one."""
    if not args.lora:
        return checkpoints.load_weights(folder, logger, model, from_ema)
    adapters.check(folder, base, args)
    loaded = checkpoints.load_base(base, logger, model)
    adapters.insert(model, args)
    adapters.load(model, folder, loaded, args, logger)
    return None


def _optimizer(flat: FlatModel, args: TrainingArguments) -> torch.optim.Optimizer:
    """Raises RuntimeError where the environment lacks what --fleet_optimizer asks for."""
    if args.fleet_optimizer == "adamw_8bit":
        raise RuntimeError("run_config_optimizer adamw_8bit: bitsandbytes cannot be imported: it needs a GPU")
    betas, fused = (args.beta1, args.beta2), args.fleet_optimizer == "adamw_fused"
    return torch.optim.AdamW([flat.mine], lr=args.lr, betas=betas, eps=args.eps, weight_decay=0, fused=fused or None)


def _schedule(optimizer: torch.optim.Optimizer, args: TrainingArguments) -> torch.optim.lr_scheduler.LambdaLR:
    if args.lr_scheduler not in ("constant", "cosine"):
        raise ValueError
    floor = args.min_lr / args.lr

    def factor(step: int) -> float:
        if step < args.warmup_steps:
            return step / max(1, args.warmup_steps)
        if args.lr_scheduler == "constant":
            return 1.0
        done = (step - args.warmup_steps) / max(1, args.total_steps - args.warmup_steps)
        return max(0.0, floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _loader(
    model_args: ModelArguments,
    data_args: DataArguments,
    args: TrainingArguments,
    tokens: Tokenizer,
    status: dict[str, Any] | None,
) -> DataLoader[Any]:
    with open(data_args.dataset_config_file, encoding="utf-8") as file:
        meta = yaml.safe_load(file)
    if dist.get_rank() == 0:
        print(meta)
    budgets = Budgets(
        args.expected_num_tokens,
        data_args.max_num_tokens,
        data_args.max_num_tokens_per_sample,
        data_args.prefer_buffer_before,
        data_args.max_buffer_size,
    )
    drop = {
        "text": model_args.text_cond_dropout_prob,
        "vit_image": model_args.vit_cond_dropout_prob,
        "vae_image": model_args.vae_cond_dropout_prob,
    }
    dataset = PackedDataset(meta, tokens, dist.get_rank(), dist.get_world_size(), budgets, drop, status)
    dataset.set_epoch(data_args.data_seed)
    ahead = data_args.prefetch_factor if data_args.num_workers else None
    return DataLoader(
        dataset, batch_size=1, num_workers=data_args.num_workers, collate_fn=only_one, prefetch_factor=ahead
    )


def _debug(loader: DataLoader[Any], args: TrainingArguments, tokens: Tokenizer, logger: logging.Logger) -> None:
    """Prints the first batches of a second set of workers, on the first rank alone."""
    if args.debug_batches > 0 and dist.get_rank() == 0:
        logger.info(f">>> Starting data debugging for {args.debug_batches} batches on RANK 0...")
        for number, batch in zip(range(1, args.debug_batches + 1), loader, strict=False):
            logger.info(describe(batch, tokens, f"Initial Batch {number}"))
        logger.info(">>> Data debugging finished. Proceeding with training...")
    dist.barrier()


def _set_up(args: TrainingArguments) -> logging.Logger:
    rank = dist.get_rank()
    if rank == 0:
        os.makedirs(args.results_dir, exist_ok=True)
        os.makedirs(args.checkpoint_dir, exist_ok=True)
    dist.barrier()
    seed = args.global_seed * dist.get_world_size() + rank
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return make_logger(args.results_dir, rank)


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=NCCL_PATIENCE)
    model_args, data_args, args = parse(sys.argv[1:])
    wandb = _wandb(args)
    logger = _set_up(args)
    for name, group in (("Training", args), ("Model", model_args), ("Data", data_args)):
        logger.info(f"{name} arguments {group}")
    folder, model_only, from_ema = _where_from(args)
    model, tokens, coder = _build(model_args, args)
    average = _load(folder, model_args.model_path, args, logger, model, from_ema)
    mesh = Mesh(args)
    for one in (model, average):
        check_uniform(one or model, args)
    flat, flat_average = FlatModel(model, mesh), FlatModel(average, mesh) if average else None
    if dist.get_rank() == 0:
        print(model)
        for name, parameter in model.named_parameters():
            print(name, parameter.requires_grad)
    optimizer = _optimizer(flat, args)
    scheduler = _schedule(optimizer, args)
    step, status = (0, None) if model_only else checkpoints.load_state(folder, mesh, optimizer, scheduler)
    loader = _loader(model_args, data_args, args, tokens, status)
    _debug(loader, args, tokens, logger)
    trainer = Trainer(
        args, logger, mesh, model, average, flat, flat_average, optimizer, scheduler, tokens, coder, status or {}, wandb
    )
    trainer.base = model_args.model_path
    trainer.run(loader, step)
    logger.info("Done!")
    if wandb is not None:
        wandb.finish()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
