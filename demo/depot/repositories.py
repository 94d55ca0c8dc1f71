"""The git repositories: bare, with commit ids that depend on their contents alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from demo.depot.parts import files_below

AUTHOR = {"NAME": "canvas-fleet demo", "EMAIL": "demo@canvas-fleet.invalid"}


def git(bare: Path, *arguments: str, tree: Path | None = None, day: int = 1) -> str:
    """One git command on the bare repository, deaf to the user's own git settings."""
    env = {"PATH": os.environ["PATH"], "HOME": str(bare), "LC_ALL": "C", "TZ": "UTC"}
    env |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_DIR": str(bare)}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_{key}": value for key, value in AUTHOR.items()}
        env[f"GIT_{who}_DATE"] = f"2026-01-{day:02d}T12:00:00+00:00"
    if tree is not None:
        env |= {"GIT_WORK_TREE": str(tree), "GIT_INDEX_FILE": str(bare / "scratch-index")}
    done = subprocess.run(["git", *arguments], env=env, cwd=tree or bare, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_bare(bare: Path, history: list[tuple[str, Path]]) -> list[str]:
    """A bare repository whose branch main has one commit (message, folder) after the other; returns their ids."""
    bare.mkdir(parents=True)
    git(bare, "init", "--quiet", "--bare", "--initial-branch=main")
    # as on GitHub: a commit can be fetched by its id, and blobs can be left out
    git(bare, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(bare, "config", "uploadpack.allowFilter", "true")
    commits: list[str] = []
    for day, (message, folder) in enumerate(history, start=1):
        git(bare, "add", "--all", "--force", ".", tree=folder)
        tree = git(bare, "write-tree", tree=folder)
        parent = ["-p", commits[-1]] if commits else []
        commits.append(git(bare, "commit-tree", tree, *parent, "-m", message, day=day))
    git(bare, "update-ref", "refs/heads/main", commits[-1])
    (bare / "scratch-index").unlink()
    for hook in (bare / "hooks").glob("*.sample"):
        hook.unlink()
    return commits


def copy_tree(source: Path, target: Path) -> None:
    """Files below `source`, without __pycache__; only the executable bit of their modes is kept."""
    for path in files_below(source):
        new = target / path.relative_to(source)
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, new, follow_symlinks=False)
        if not new.is_symlink():
            new.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def make_code(folder: Path, source: Path, scratch: Path) -> list[str]:
    """MathCanvas.git with `source` as BAGEL-Canvas/, in two commits that differ in dataset_info.py and README.md."""
    before, now = scratch / "before", scratch / "now"
    for tree in (before, now):
        copy_tree(source, tree / "BAGEL-Canvas")
        (tree / "README.md").write_text("MathCanvas of the demo: BAGEL-Canvas/ is minicanvas, a stand-in.\n")
    with (now / "README.md").open("a") as file:
        file.write("\nThis is the later of two commits.\n")
    registry = before / "BAGEL-Canvas" / "data" / "dataset_info.py"
    if registry.is_file():
        registry.write_bytes(b"# The datasets that the loader knows.\n" + registry.read_bytes())
    history = [("Add the trainer", before), ("Say less in dataset_info.py, more in the README", now)]
    return make_bare(folder / "MathCanvas.git", history)


def make_data(folder: Path, dataset: Path, scratch: Path) -> list[str]:
    """BlockMovingSFT.git with the parquet and info files where the user's own repository has them."""
    tree = scratch / "data-tree"
    copy_tree(dataset, tree / "data" / "output")
    (tree / "README.md").write_text("BlockMovingSFT of the demo: generated puzzles in the form of the real files.\n")
    return make_bare(folder / "BlockMovingSFT.git", [("Add the split data", tree)])
