"""The model's tokenizer on a host: from the model folder, else fetched alone (4 MB instead of 29 GB).

The data is checked before the weights are fetched, so long samples are reported early. Without the library or an answer
of the hub, text lengths are estimated and reported as estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...core.errors import FleetError
from ...core.progress import log
from ...system import files, folders
from ...system.hub import Hub
from ...trainer.tokens import TOKENIZER_FILES

NAMES = (*TOKENIZER_FILES, "tokenizer_config.json")
HUB_TIMEOUT = 10.0  # seconds without an answer

Source = Callable[..., Any]


def whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in TOKENIZER_FILES)


def folder(spec: Mapping[str, Any], beside: Path, hub: Source = Hub) -> str:
    """A folder with vocab.json and merges.txt of the model; "" when there is none.

    `spec` holds weights_dir, and weights_repo, weights_revision, weights_endpoint and weights_token for the fetch, each
    optional. What is fetched stays below `beside`.
    """
    model = str(spec.get("weights_dir") or "")
    if model and whole(Path(model)):
        return model
    repo, revision = str(spec.get("weights_repo") or ""), str(spec.get("weights_revision") or "")
    if not (repo and revision and find_spec("tokenizers")):
        return ""
    kept = beside / "tokenizer" / f"{repo}@{revision}".replace("/", "--")
    try:
        return str(kept) if whole(kept) else _fetch(spec, repo, revision, kept, hub)
    except (FleetError, OSError) as error:
        log(f"text lengths are estimates, because the tokenizer cannot be fetched: {error}")
        return ""


def _fetch(spec: Mapping[str, Any], repo: str, revision: str, kept: Path, hub: Source) -> str:
    folders.make(kept)
    endpoint, token = str(spec.get("weights_endpoint") or ""), str(spec.get("weights_token") or "")
    source = hub(repo, revision, endpoint, token, HUB_TIMEOUT)
    for name in reversed(NAMES):  # the two that make it whole come last
        part = kept / f".{name}.part"
        files.remove(part)
        source.fetch(source.describe(name), part)
        files.put(part, kept / name, 0o644)
    return str(kept)
