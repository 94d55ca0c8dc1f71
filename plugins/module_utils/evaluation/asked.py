"""What an evaluation is asked for, from the settings of a host. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..checkpoints.seal import kept_dir_of
from ..trainer.tokens import IMAGE_EDGE, VAE_STRIDE, VIT_STRIDE
from .spec import GENERATION, Spec

# The settings that are read here; a job's spec and a unit's spec.json hold these alone.
OWN = ("step", "mode", "rows", "compare_base", "weights", "seed", "test_file", "dir")
FIXED = ("max_text_tokens", "cfg_renorm_min", "cfg_renorm_type")  # without a variable; their values stand in GENERATION
DRAWN = tuple(name for name in GENERATION if name not in FIXED)
NAMES = (
    *(f"evaluation_{name}" for name in (*OWN, *DRAWN)),
    *("training_results_dir", "training_checkpoint_dir", "training_kept_dir", "training_unit"),
    *("run_config_ema", "run_config_processes", "run_config_timestep_shift", "run_config_max_latent_size"),
    *("weights_dir", "canvas_code_dir", "canvas_code_commit", "nvidia_gpu_expected"),
)


def spec_of(settings: Mapping[str, Any]) -> Spec:
    """From the settings of a host, or from those of them in NAMES. `gpus`: 0 where the trainer needs none."""
    results, checkpoints, kept = (str(settings[f"training_{name}_dir"]) for name in ("results", "checkpoint", "kept"))
    edges = {"max_image_size": IMAGE_EDGE, "min_image_size": IMAGE_EDGE}
    return Spec(
        mode="loss" if settings["evaluation_mode"] == "loss" else "answers",
        folder=str(settings["evaluation_dir"]).rstrip("/"),
        code=str(settings["canvas_code_dir"]).rstrip("/"),
        commit=str(settings["canvas_code_commit"]),
        base=str(settings["weights_dir"]).rstrip("/"),
        checkpoints=checkpoints.rstrip("/"),
        kept=kept_dir_of(results, checkpoints, kept),
        results=results,
        parquet=str(settings["evaluation_test_file"]),
        step=str(settings["evaluation_step"]),
        compare_base=bool(settings["evaluation_compare_base"]),
        weights=settings["evaluation_weights"],
        ema=float(settings["run_config_ema"]),
        rows=int(settings["evaluation_rows"]),
        seed=int(settings["evaluation_seed"]),
        gpus=(int(settings["run_config_processes"]) or 1) if settings["nvidia_gpu_expected"] else 0,
        timestep_shift=float(settings["run_config_timestep_shift"]),
        max_latent_size=int(settings["run_config_max_latent_size"]),
        generation={name: settings[f"evaluation_{name}"] for name in DRAWN},
        vae_transform={"image_stride": VAE_STRIDE, **edges},
        vit_transform={"image_stride": VIT_STRIDE, **edges},
    )
