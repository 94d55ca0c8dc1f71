"""Against the real upstream code: CANVAS_UPSTREAM=<a checkout> python -m pytest tests/upstream (docs/upstream.md)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import patching as code_patches
from ansible_collections.canvas.fleet.plugins.module_utils.system import ownership
from ansible_collections.canvas.fleet.plugins.module_utils.system.ownership import Owner

HERE = Path(__file__).parent
Drive = Callable[..., dict[str, Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("CANVAS_UPSTREAM"):
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="CANVAS_UPSTREAM names no checkout of upstream"))


@pytest.fixture(scope="session")
def upstream() -> Path:
    """The folder BAGEL-Canvas of the checkout."""
    folder = Path(os.environ["CANVAS_UPSTREAM"]).resolve()
    return folder / "BAGEL-Canvas" if (folder / "BAGEL-Canvas").is_dir() else folder


@pytest.fixture
def drive(upstream: Path) -> Drive:
    """drive("load", tree, **told): what the real code answers, {"ok": …} or {"error": …, "message": …}."""

    def ask(command: str, tree: Path | None = None, timeout: float = 300, **told: Any) -> dict[str, Any]:
        argv = [sys.executable, str(HERE / "drive.py"), command]
        done = subprocess.run(
            argv,
            input=json.dumps(told),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd=tree or upstream,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "2"},
        )
        assert done.stdout, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout)
        return {**found, "said": done.stderr}

    return ask


def copy_tree(upstream: Path, target: Path) -> Path:
    shutil.copytree(upstream, target, ignore=shutil.ignore_patterns("data_handlers", "__pycache__", ".git"))
    return target


@pytest.fixture(autouse=True)
def owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "owner_of", lambda user, group: Owner(os.getuid(), os.getgid()))


def patch_tree(tree: Path, profile: str, *, lean: bool = True) -> None:
    """What the role canvas_code does for training_profile and canvas_code_lean."""
    told = {"canvas_code_dir": str(tree), "training_profile": profile, "canvas_code_lean": lean}
    code_patches.converge(told, check=False)
