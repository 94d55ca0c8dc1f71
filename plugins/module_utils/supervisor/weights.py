"""Stops a training with wrong weights at once: it would look healthy to its end.

Without the weights the trainer says one line, and its losses look normal (contract). The first CE of a model that was
read is far below the logarithm of the vocabulary (11.9), that of random weights is near it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..trainer.failures import Failure
from .watch import Watch


def _adapters(watch: Watch, spec: Mapping[str, Any]) -> str:
    """What training_profile: lora lacks once the training begins. The code refuses a base that lacks tensors itself."""
    reader = watch.reader
    if spec.get("profile") != "lora" or reader.start is None:
        return ""
    if reader.adapters is None or not reader.adapters.number:
        return "training_profile is lora, and the log names no adapters"
    return ""


def flaw(watch: Watch, spec: Mapping[str, Any], say: Callable[[str], None]) -> Failure | None:
    """The reason to stop; None when there is none. `warn_first_loss` and `max_first_loss` are 0 for never."""
    reader = watch.reader
    if spec.get("weights_expected", True) and reader.weights in ("scratch", "partial"):
        source = f" from {reader.source}" if reader.source else ""
        return Failure("WEIGHTS_NOT_LOADED", f"weights not loaded{source}: {reader.flaw}")
    if lacking := _adapters(watch, spec):
        return Failure("WEIGHTS_NOT_LOADED", lacking)
    first = watch.log().steps[:1]
    ce = first[0].losses.get("ce") if first and watch.last is first[0] else None
    if ce is None:
        return None
    warn, stop = float(spec.get("warn_first_loss") or 0), float(spec.get("max_first_loss") or 0)
    found = f"the first CE is {ce:.2f} at step {first[0].step}"
    if stop and not ce < stop:  # a NaN is no loss to go on with either
        return Failure(
            "FIRST_LOSS_HIGH", f"{found}, not below {stop:g} (training_max_first_loss), as of random weights"
        )
    if warn and ce >= warn:
        say(f"warning: {found}, above {warn:g} (training_warn_first_loss)")
    return None
