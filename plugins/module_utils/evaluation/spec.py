"""What an evaluation is asked for, as it crosses from the plan to the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .wire import Scalar

NEWEST, BASE, ALL, MERGED = "newest", "base", "all", "merged"
# Of the reasoner of MathCanvas cc48f16, mathcanvas_interleave_reasoner.py; the interval is 0 to 1, as its default is.
GENERATION: Mapping[str, Scalar] = {
    "max_iterations": 10,
    "max_text_tokens": 2048,  # no argument of its own: the default of the function that writes a text
    "do_sample": False,
    "text_temperature": 0.3,
    "num_timesteps": 50,
    "cfg_text_scale": 4.0,
    "cfg_img_scale": 2.0,
    "timestep_shift": 3.0,
    "cfg_renorm_min": 0.0,
    "cfg_renorm_type": "text_channel",
}


@dataclass(frozen=True)
class Spec:
    """One evaluation of a run on one host. All folders are absolute.

    `folder`: evaluation_dir. `code`: the folder BAGEL-Canvas of the checkout. `base`: the model folder, `base_file` its
    weights. `checkpoints`, `kept`, `results`: as of the training. `parquet`: the test file. `step`: newest, base, all,
    merged, or a number. `weights`: auto, ema or model; `ema`: the decay of the run's average, from which auto judges.
    `rows`: how many from the first on; 0: all. `gpus`: 0 for a trainer that needs none. `vae_transform` and
    `vit_transform`: image_transform_args and vit_image_transform_args of the training's yaml. `timestep_shift`: of the
    training's flags; the one of `generation` is the reasoner's.
    """

    mode: Literal["loss", "answers"]
    folder: str
    code: str
    commit: str
    base: str
    checkpoints: str
    kept: str
    results: str
    parquet: str
    base_file: str = "ema.safetensors"
    step: str = NEWEST
    compare_base: bool = True
    weights: Literal["auto", "ema", "model"] = "auto"
    ema: float = 0.0
    rows: int = 0
    seed: int = 42
    gpus: int = 1
    vae_transform: Mapping[str, int] = field(default_factory=dict)
    vit_transform: Mapping[str, int] = field(default_factory=dict)
    timestep_shift: float = 1.0
    max_latent_size: int = 64
    generation: Mapping[str, Scalar] = field(default_factory=dict)

    def settings(self) -> dict[str, Scalar]:
        """What the rows of an About depend on, beside weights, data, code and seed."""
        images = {
            f"{name}_{key}": value
            for name, sizes in (("vae", self.vae_transform), ("vit", self.vit_transform))
            for key, value in sizes.items()
        }
        if self.mode == "loss":
            return {**images, "timestep_shift": self.timestep_shift, "max_latent_size": self.max_latent_size}
        return {**images, **GENERATION, **self.generation}
