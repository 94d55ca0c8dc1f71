"""Lets upstream's inference run where there is no GPU: with this folder in PYTHONPATH the CPU stands in for cuda:0."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any


def _here(where: Any) -> Any:
    """A place, or what else `to` takes, with the CPU in the place of a GPU."""
    return "cpu" if str(where).startswith("cuda") else where


def _moved(real: Callable[..., Any]) -> Callable[..., Any]:
    def to(self: Any, *where: Any, **how: Any) -> Any:
        return real(self, *map(_here, where), **{name: _here(value) for name, value in how.items()})

    return to


def patch(torch: Any) -> None:
    begin, kernel = torch.autocast.__init__, torch.nn.attention.sdpa_kernel

    def on_cpu(self: Any, device_type: str, *given: Any, **how: Any) -> None:
        begin(self, _here(device_type), *given, **how)

    def any_kernel(backends: Any) -> Any:
        """The one that is asked for is a GPU's."""
        return contextlib.nullcontext()

    folds = torch.nn.Conv2d.forward

    def exactly(self: Any, given: Any) -> Any:
        """In float32: a CPU takes minutes for it in bfloat16."""
        with torch.autocast("cpu", enabled=False):
            return folds(self, given.float())

    torch.nn.Conv2d.forward = exactly
    any_kernel.__wrapped__ = kernel.__wrapped__  # type: ignore[attr-defined]
    torch.autocast.__init__, torch.nn.attention.sdpa_kernel = on_cpu, any_kernel
    torch.Tensor.to, torch.nn.Module.to = _moved(torch.Tensor.to), _moved(torch.nn.Module.to)
    with contextlib.suppress(ImportError):
        import accelerate

        load = accelerate.load_checkpoint_and_dispatch
        accelerate.infer_auto_device_map = lambda *_model, **_how: {"": "cpu"}
        accelerate.load_checkpoint_and_dispatch = lambda *model, **how: load(
            *model, **{**how, "device_map": dict.fromkeys(how["device_map"], "cpu")}
        )


OURS = ("payload.zip", "drive.py", "mathcanvas_interleave_reasoner.py")
if any(word.endswith(OURS) for word in sys.orig_argv):
    import torch
    import torch.nn.attention

    if not torch.cuda.is_available():
        patch(torch)
