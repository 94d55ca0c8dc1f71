"""The log: stderr and <results_dir>/log.txt of the first rank, with colours around the time; other ranks are silent."""

from __future__ import annotations

import logging

from data.packing import Batch
from modeling.tokenizer import Tokenizer


def make_logger(results_dir: str, rank: int) -> logging.Logger:
    logger = logging.getLogger("train")
    if rank == 0:
        logging.basicConfig(
            level=logging.INFO,
            format="[\033[34m%(asctime)s\033[0m] %(message)s",
            datefmt="%Y-%m-%d %H:%M:%S",
            handlers=[logging.StreamHandler(), logging.FileHandler(f"{results_dir}/log.txt")],
        )
    else:
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    return logger


def describe(batch: Batch, tokens: Tokenizer, name: str) -> str:
    """Output of --debug_batches: the items of each sample, with the text."""
    lines = [f"\n{'=' * 100}", f"  {name}: {batch.length} tokens, sample lengths {batch.sample_lens}", "=" * 100]
    for number, items in enumerate(batch.samples, start=1):
        lines.append(f"sample {number}")
        for item in items:
            what = repr(tokens.decode(item.ids)) if item.kind == "text" else ""
            lines.append(f"  {item.kind:<10} {item.tokens + 2:>6} tokens {'learnt' if item.loss else 'given':<7}{what}")
    return "\n".join([*lines, "=" * 100, ""])
