"""Long work of the role export: the model folder. Runs as the account, under the host's own Python.

The spec holds the settings that its job names, with the step and the weights that observe.py chose, and the card.
"""

from __future__ import annotations

from typing import Any

from ...checkpoints import export_folder
from ...checkpoints.export_choice import ExportSpec
from ...checkpoints.models import NEWEST
from ...checkpoints.seal import Place, kept_dir_of
from ...core.progress import Progress


def export_spec(spec: Any) -> ExportSpec:
    """Of a host's settings, or of a job's."""
    results, folder, kept = (str(spec[f"training_{name}_dir"]) for name in ("results", "checkpoint", "kept"))
    return ExportSpec(
        Place(folder.rstrip("/"), kept_dir_of(results, folder, kept)),
        results,
        str(spec["weights_dir"]),
        tuple(map(str, spec["weights_files"])),
        step_of(str(spec["export_step"])),
        str(spec["export_weights"]),
        float(spec["run_config_ema"]),
    )


def step_of(word: str) -> int:
    return NEWEST if word == "newest" else int(word)


def preview(spec: Any) -> list[str]:
    wanted = export_spec(spec)
    which = "the newest checkpoint" if wanted.step == NEWEST else f"step {wanted.step} ({wanted.kind})"
    return [f"make a model folder of {which} below {wanted.folder}"]


def work(spec: Any, progress: Progress) -> dict[str, Any]:
    """Can be interrupted anywhere, and repeated: what is there already is left alone."""
    return export_folder.make(export_spec(spec), str(spec["card"]), progress)
