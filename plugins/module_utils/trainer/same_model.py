"""Are weights those of the base's model? Judged by the headers of two safetensors files alone."""

from __future__ import annotations

from dataclasses import dataclass

from .log import POSITIONS
from .safetensors import Header


@dataclass(frozen=True)
class Unlike:
    """Weights by which a file is not of the base's model; all empty when it is.

    `lacking`: only the base has them. `more`: the base lacks them. `other`: another shape or type. `reshaped`: those of
    `other` whose shape is another one, which no loader can mend. Sinusoids that the trainer computes are in neither
    `more` nor `reshaped`: every loader does without them.
    """

    lacking: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    reshaped: tuple[str, ...] = ()


def unlike(own: Header, base: Header) -> Unlike:
    """Names in the order of their file."""
    other = [name for name, tensor in own.tensors.items() if base.tensors.get(name, tensor) != tensor]
    return Unlike(
        lacking=tuple(name for name in base.tensors if name not in own.tensors),
        more=tuple(name for name in own.tensors if name not in base.tensors and name not in POSITIONS),
        other=tuple(other),
        reshaped=tuple(
            name for name in other if own.tensors[name].shape != base.tensors[name].shape and name not in POSITIONS
        ),
    )
