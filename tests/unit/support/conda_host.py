"""A host on which programs that speak conda's and pip's command lines stand in for both (tests/fixtures/conda)."""

import hashlib
import os
import sys
from pathlib import Path

from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import decide as conda_env_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import observe as conda_env
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import work as conda_env_work

from tests.unit.support.places import FIXTURES

TOOLS = FIXTURES / "conda"
INSTALLER = TOOLS / "installer.sh"
# The one below .venv: a first line "#!…" takes no blank, and the checkout may lie in a folder that has one.
PYTHON = os.path.realpath(sys.executable)
PACKAGES = ["torch==2.7.1", "einops==0.8.1"]


class KilledError(BaseException):
    """A cut: no handler of ours may catch it."""


def make_spec(tmp_path, monkeypatch):
    for name, value in {"FAKE_LOG": tmp_path / "log", "FAKE_TOOLS": TOOLS, "FAKE_PYTHON": PYTHON}.items():
        monkeypatch.setenv(name, str(value))
    (tmp_path / "log").touch()
    root = tmp_path / "miniforge3"
    return {
        "root": str(root),
        "prefix": str(root / "envs" / "bagel-canvas"),
        "state_dir": str(tmp_path / "state"),
        "fleet_state_dir": str(tmp_path / "root"),
        "use_existing": False,
        "installer_url": INSTALLER.as_uri(),
        "installer_sha256": hashlib.sha256(INSTALLER.read_bytes()).hexdigest(),
        "channels": ["http://channel.test/forge"],
        "python": "3.10",
        "conda_packages": [],
        "pip_packages": PACKAGES,
        "pip_index_url": "http://index.test:8080/simple/",
        "pip_extra_index_urls": ["https://download.pytorch.org/whl/cu128"],
        "pip_find_links": "",
        "flash_attn": "2.8.2",
        "flash_attn_releases": "https://mirror.test/fa",
        "imports": ["torch", "einops", "flash_attn"],
        "conda_lock": [],
        "pip_lock": [],
        "wheelhouse": "",
        "flash_attn_from": "wheel",
        "flash_attn_sha256": "",
        "run_config_use_flex": False,
        "run_config_env": {},
        "nvidia_gpu_expected": False,
        "nvidia_cuda_home": str(tmp_path / "cuda"),
    }


def run(spec, progress=None):
    return conda_env_work.work(spec, progress or Progress())


def calls(spec):
    return Path(os.environ["FAKE_LOG"]).read_text().splitlines()


def in_sync(spec):
    return not conda_env_plan.differences(conda_env.observe(spec), conda_env.wanted(spec))


def environments(spec):
    return sorted(path.name for path in Path(spec["prefix"]).parent.iterdir())


def assert_clean(spec):
    """Nothing unfinished is left: no mark, no folder without a record, no second link."""
    assert list(Path(spec["state_dir"], "claims").iterdir()) == []
    for path in Path(spec["prefix"]).parent.iterdir():
        assert path.is_symlink() or (path / conda_env.RECORD).exists(), path
