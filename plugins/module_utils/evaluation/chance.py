"""Chance that is the same for every subject: seeded per row, drawn on the CPU, whatever GPU computes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from ..system.digests import sha256
from .loading import replaced


def seed_of(seed: int, row: int) -> int:
    """32 bits, which numpy takes. It is no sum: row 1 of seed 1 and row 0 of seed 2 differ."""
    return int(sha256(f"{seed}:{row}")[:8], 16)


def start(seed: int, row: int) -> None:
    """Seeds every generator that the deployed code draws from."""
    number = seed_of(seed, row)
    random.seed(number)
    import_module("numpy").random.seed(number)
    import_module("torch").manual_seed(number)


@contextmanager
def on_cpu() -> Iterator[None]:
    """torch.randn_like draws on the CPU: a GPU's own numbers depend on how many processors it has."""
    torch = import_module("torch")

    def randn_like(like: Any, *, dtype: Any = None, device: Any = None, **_more: Any) -> Any:
        return torch.randn(like.shape, dtype=torch.float32).to(device or like.device, dtype or like.dtype)

    with ExitStack() as stack:
        stack.enter_context(replaced(torch, "randn_like", randn_like))
        yield
