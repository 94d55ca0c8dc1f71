"""The hub's repositories: manifests (repo.json) and blobs, in the form that server.py reads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from demo.depot.parts import Result, place, sha256

REPO = "canvas-fleet/bagel-tiny"
GATED = "canvas-fleet/bagel-tiny-gated"
TOKEN = "demo-token-of-the-depot"  # noqa: S105  opens nothing but a copy of the tiny model
LFS_FROM = 1_000_000  # bytes; the real hub keeps larger files, and every .safetensors, in large-file storage


def describe(path: Path) -> dict[str, Any]:
    """The hub's answer about one file: size, sha256, and git's blob id."""
    size = path.stat().st_size
    lfs = path.suffix == ".safetensors" or size >= LFS_FROM
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    blob.update(path.read_bytes())
    return {"size": size, "sha256": sha256(path), "oid": blob.hexdigest(), "lfs": lfs}


def commit_id(files: dict[str, dict[str, Any]]) -> str:
    """40 hex digits that follow from the contents, as a commit id does."""
    return hashlib.sha1(json.dumps(files, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def make_hub(folder: Path, model: Path, earlier_config: bytes) -> Result:
    """Repositories in `folder` with the files of `model`, and before them a revision with another config.json."""
    blobs = folder / REPO / "blobs"
    blobs.mkdir(parents=True)
    newest = {}
    for path in sorted(p for p in model.iterdir() if p.is_file()):
        newest[path.name] = describe(path)
        if not (blobs / newest[path.name]["sha256"]).exists():
            place(path, blobs / newest[path.name]["sha256"])
    scratch = folder / "config.json"
    scratch.write_bytes(earlier_config)
    earlier = newest | {"config.json": describe(scratch)}
    scratch.rename(blobs / earlier["config.json"]["sha256"])
    commits = {commit_id(files): files for files in (earlier, newest)}
    manifest = {"refs": {"main": commit_id(newest)}, "commits": commits}
    (folder / REPO / "repo.json").write_text(json.dumps(manifest))
    gated = folder / GATED
    gated.mkdir()
    (gated / "blobs").symlink_to("../" + REPO.split("/")[1] + "/blobs")
    token = hashlib.sha256(TOKEN.encode()).hexdigest()
    (gated / "repo.json").write_text(json.dumps(manifest | {"token_sha256": token}))
    return {
        "weights_revision": commit_id(newest),
        "weights_revisions": [commit_id(earlier), commit_id(newest)],
        "weights_sha256": {name: file["sha256"] for name, file in newest.items()},
        "weights_bytes": sum(file["size"] for file in newest.values()),
    }
