"""The rendered texts, which go to the host unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# (role, template, values, a user's file in its place or "") -> text; raises FleetError. plugin_utils/render.py is one.
Fill = Callable[..., str]
SCRIPT_MODE, YAML_MODE = 0o755, 0o644


@dataclass(frozen=True)
class Texts:
    """The train script, the loader's yaml, and the block of dataset_info.py with registration.ROWS for the samples."""

    script: str
    yaml: str
    registration: str
