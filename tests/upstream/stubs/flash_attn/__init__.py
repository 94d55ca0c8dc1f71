"""Stand-in for a package that needs a GPU: the same attention, one segment at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch


def flash_attn_varlen_func(
    q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any = None, causal: bool = False, **_: Any
) -> Any:
    """Each segment of queries with its own of keys; where it is causal, the last query sees the last key."""
    asking, held = (ends.tolist() for ends in (cu_seqlens_q, cu_seqlens_q if cu_seqlens_k is None else cu_seqlens_k))
    out = []
    for (start, end), (first, last) in zip(pairwise(asking), pairwise(held), strict=True):
        query = q[start:end].transpose(0, 1).unsqueeze(0)
        shared = q.shape[1] // k.shape[1]
        keys, values = (one[first:last].repeat_interleave(shared, 1).transpose(0, 1).unsqueeze(0) for one in (k, v))
        rows, columns = end - start, last - first
        mask = None
        if causal and rows > 1:
            mask = torch.ones(rows, columns, dtype=torch.bool, device=q.device).tril(columns - rows)
        done = torch.nn.functional.scaled_dot_product_attention(
            query, keys.to(query.dtype), values.to(query.dtype), mask
        )
        out.append(done.squeeze(0).transpose(0, 1))
    return torch.cat(out)
