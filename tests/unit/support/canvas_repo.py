"""A repository of three commits and a host's checkout of it, for tests of the role canvas_code."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import apply as code_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import decide as canvas_code_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import observe as canvas_code
from ansible_collections.canvas.fleet.plugins.module_utils.system import ownership
from ansible_collections.canvas.fleet.plugins.module_utils.system.ownership import Owner
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import known as known_upstream

from tests.unit.support import run_texts
from tests.unit.support.run_settings import CODE, topology

ENTRY = {"data_dir": "/d", "num_files": 1, "parquet_info_path": "/i", "num_total_samples": 3}
INFO = "BAGEL-Canvas/data/dataset_info.py"
TRAINER = "BAGEL-Canvas/train/pretrain_unified_navit.py"


def git(folder: Path, *args: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *who, "-C", str(folder), *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(repo: Path, files: dict[str, str | None]) -> str:
    for name, text in files.items():
        path = repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "change")
    return git(repo, "rev-parse", "HEAD")


class Upstream:
    """A repository of three commits: the second changes code beside, the third dataset_info.py and file names too."""

    def __init__(self, root: Path) -> None:
        self.path = root / "upstream"
        self.path.mkdir()
        git(self.path, "init", "-q")
        git(self.path, "config", "uploadpack.allowReachableSHA1InWant", "true")
        first = {INFO: CODE, TRAINER: "print(1)\n" * 500, "BAGEL-Canvas/util.py": "x = 1\n", "README.md": "hi\n"}
        first["BAGEL-Canvas/.gitignore"] = "__pycache__\nresults\n"
        self.one = commit(self.path, first)
        self.two = commit(self.path, {TRAINER: "print(2)\n" * 500, "BAGEL-Canvas/new.py": "n = 2\n" * 300})
        self.three = commit(self.path, {INFO: "# new\n" + CODE, "BAGEL-Canvas/util.py": None, TRAINER: "print(3)\n"})


def prepared(root: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    monkeypatch.setattr(ownership, "owner_of", lambda user, group: Owner(os.getuid(), os.getgid()))
    monkeypatch.setattr(known_upstream, "FILES", {})  # what is known of the real code is test_code_patches' subject
    return Upstream(root)


def settings(root: Path, commit_id: str, **changes: Any) -> dict[str, Any]:
    values = {
        "fleet_user": "blockmoving",
        "fleet_group": "blockmoving",
        "fleet_state_dir": f"{root}/state",
        "canvas_code_source": "git",
        "canvas_code_repo": f"file://{root}/upstream",
        "canvas_code_commit": commit_id,
        "canvas_code_checkout": f"{root}/host/MathCanvas",
        "canvas_code_dir": f"{root}/host/MathCanvas/BAGEL-Canvas",
        "canvas_code_local_edits": "keep",
        "canvas_code_lean": False,
        "run_config_optimizer": "adamw",
        "dataset_group": "interleave_reasoning",
        "dataset_name": "blockmoving_train",
        "run_config_yaml": f"{root}/host/MathCanvas/BAGEL-Canvas/data/configs/blockmoving_sft.yaml",
    }
    return {**values, **changes}


def converge(root: Path, commit_id: str, *, check: bool = False, **changes: Any) -> dict[str, Any]:
    return code_apply.converge(settings(root, commit_id, **changes), check=check)


def plan(root: Path, commit_id: str, **changes: Any) -> Any:
    told = settings(root, commit_id, **changes)
    return canvas_code_plan.decide(canvas_code.observe(told), told, topology())


def checkout(root: Path) -> Path:
    return root / "host/MathCanvas"


def register(root: Path) -> None:
    path = checkout(root) / INFO
    path.write_bytes(run_texts.register(path.read_bytes(), "interleave_reasoning", "blockmoving_train", ENTRY))
    yaml = checkout(root) / "BAGEL-Canvas/data/configs/blockmoving_sft.yaml"
    yaml.parent.mkdir(exist_ok=True)
    yaml.write_text("interleave_reasoning:\n")
