"""The deployed code's own classes, as an evaluation needs them: its reasoner, its loader of rows, its model.

Names are those of MathCanvas cc48f16, folder BAGEL-Canvas, which is the working directory; minicanvas has the same. The
weights come as the reasoner's setup_model brings them, with three differences: a file of another model is refused by
name, where upstream computes with what it did not load; adapters are added to the base; and where the GPU is too small
for all, the layers stay in the host's memory and come one at a time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..core.errors import FleetError
from . import loading
from .spec import Spec
from .subjects import Subject

REASONER = "mathcanvas_interleave_reasoner"
RANK = 0  # of one process alone: each has its own GPU, its own group, and its own rows
Module = Any  # of torch


@dataclass
class Deployed:
    """A model that is ready, and what belongs to it."""

    model: Module
    vae: Module
    tokenizer: Any
    tokens: Mapping[str, int]
    vae_transform: Any
    vit_transform: Any
    device: str


def device() -> str:
    """`cuda` where torch sees a GPU."""
    return "cuda" if import_module("torch").cuda.is_available() else "cpu"


def prepare(code: str) -> None:
    """The code importable, a process group of one, and kernels that compute the same each time."""
    sys.path.insert(0, code)
    torch, distributed = import_module("torch"), import_module("torch.distributed")
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    if not distributed.is_initialized():
        distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)


def load(spec: Spec, subject: Subject, streamed: bool = False) -> Deployed:
    """The subject's model. Raises FleetError for weights of another model."""
    reasoner = import_module(REASONER)
    keeper = loading.Keeper(subject, streamed, device())
    with loading.replaced(
        reasoner, "load_checkpoint_and_dispatch", keeper.around(reasoner.load_checkpoint_and_dispatch)
    ):
        model, vae, tokenizer, _vae, _vit, tokens = reasoner.setup_model(
            os.path.dirname(subject.path), RANK, os.path.basename(subject.path), spec.base
        )
    if streamed:
        vae = vae.to(device())
    vae_transform, vit_transform = transforms(spec)
    _refuse_other_sizes(model, spec)
    return Deployed(model, vae, tokenizer, tokens, vae_transform, vit_transform, device())


def transforms(spec: Spec) -> tuple[Any, Any]:
    """Those of the training's yaml: upstream's reasoner has 1024 and 980 pixels, whatever was trained."""
    kind = import_module("data.transforms").ImageTransform
    return kind(**spec.vae_transform), kind(**spec.vit_transform)


def _refuse_other_sizes(model: Module, spec: Spec) -> None:
    with suppress(AttributeError):
        if model.config.max_latent_size != spec.max_latent_size:
            raise FleetError(
                "the run was trained with other positions of pictures than inference has",
                variable="run_config_max_latent_size",
                found=str(spec.max_latent_size),
                expected=str(model.config.max_latent_size),
            )
