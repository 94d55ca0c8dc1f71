"""Long work of the role training: the merge of a checkpoint's adapters into a whole model.

Runs as the account under the training's own Python, which has numpy. The spec holds the settings that its job names.
"""

from __future__ import annotations

from typing import Any

from ...checkpoints import model_folder
from ...checkpoints.model_folder import MergeSpec
from ...checkpoints.models import NEWEST
from ...checkpoints.seal import Place, kept_dir_of
from ...core.progress import Progress


def merge_spec(spec: Any) -> MergeSpec:
    results, folder, kept = (str(spec[f"training_{name}_dir"]) for name in ("results", "checkpoint", "kept"))
    place = Place(folder.rstrip("/"), kept_dir_of(results, folder, kept))
    names = tuple(map(str, spec["weights_files"]))
    return MergeSpec(place, results, str(spec["weights_dir"]), names, int(spec["training_merge_step"]))


def preview(spec: Any) -> list[str]:
    wanted = merge_spec(spec)
    which = "the newest checkpoint" if wanted.step == NEWEST else f"step {wanted.step}"
    return [f"merge the adapters of {which} into {wanted.base}, as a model below {wanted.models}"]


def work(spec: Any, progress: Progress) -> dict[str, Any]:
    """Can be interrupted anywhere, and repeated: what is there already is left alone."""
    return model_folder.make(merge_spec(spec), progress)
