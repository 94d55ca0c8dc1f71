"""The environment is proved as the training's script will use it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import observe as conda_env
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import work as conda_env_work
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.environment import Script

from tests.unit.support.conda_host import INSTALLER, calls, in_sync, make_spec, run
from tests.unit.support.places import ROOT


@pytest.fixture
def spec(tmp_path, monkeypatch):
    return make_spec(tmp_path, monkeypatch)


def record(spec):
    return json.loads((Path(spec["prefix"]) / conda_env.RECORD).read_text())


def test_a_changed_environment_of_the_script_is_proved_anew_and_nothing_is_built(spec):
    run(spec)
    changed = {**spec, "run_config_env": {"LD_LIBRARY_PATH": "/opt/lib"}}
    assert not in_sync(changed)
    before, build = calls(spec), Path(spec["prefix"]).resolve()
    run(changed)
    assert [line.split()[1] for line in calls(spec)[len(before) :]] == ["-c"]
    assert (in_sync(changed), in_sync(spec), Path(spec["prefix"]).resolve()) == (True, False, build)


def test_a_record_of_the_version_before_is_believed(spec):
    """An upgrade alone proves nothing anew: the GPUs may be full of a training."""
    run(spec)
    old = record(spec)
    assert old.pop("script")
    (Path(spec["prefix"]) / conda_env.RECORD).write_text(json.dumps(old))
    assert in_sync({**spec, "run_config_env": {"LD_LIBRARY_PATH": "/opt/lib"}})


def test_an_import_that_breaks_by_the_script_s_environment_names_it_and_nothing_is_switched(spec):
    run({**spec, "pip_packages": ["torch==2.7.1"], "imports": ["torch"], "flash_attn": ""})
    before = Path(spec["prefix"]).resolve()
    site = next((before / "lib").glob("python3*/site-packages"))
    broken = "import os\nif os.environ.get('PYTHONPATH') == '/opt/other':\n    raise ImportError('of another Python')\n"
    (site / "torch.py").write_text(broken + (site / "torch.py").read_text())
    asked = {**spec, "pip_packages": ["torch==2.7.1"], "imports": ["torch"], "flash_attn": ""}
    with pytest.raises(FleetError) as caught:
        run({**asked, "run_config_env": {"PYTHONPATH": "/opt/other"}})
    assert caught.value.variable == "run_config_env"
    assert "PYTHONPATH=/opt/other; torch: ImportError: of another Python" in caught.value.found
    assert Path(spec["prefix"]).resolve() == before


def test_torch_has_to_see_a_gpu_where_the_driver_runs(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(conda_env_work, "DRIVER", str(tmp_path / "driver"))
    expected = {**spec, "nvidia_gpu_expected": True}
    run(expected)  # before a driver is there
    (tmp_path / "driver").touch()
    with pytest.raises(FleetError, match="torch sees no GPU") as caught:
        run({**expected, "run_config_env": {"ANY": "change"}})
    assert caught.value.variable == "conda_env_imports", "LD_LIBRARY_PATH is there, and not to blame"
    run({**spec, "run_config_env": {"ANY": "change"}})  # no GPU, by the user's word


def test_an_installer_for_another_architecture_is_not_run(spec, tmp_path):
    other = tmp_path / "Miniforge3-Linux-ppc64le.sh"
    shutil.copy(INSTALLER, other)
    with pytest.raises(FleetError) as caught:
        run({**spec, "installer_url": other.as_uri()})
    assert (caught.value.code, caught.value.variable) == ("ARCHITECTURE_OTHER", "conda_env_installer_url")
    assert calls(spec) == []


def test_an_installer_that_wants_the_network_says_so_with_its_variables(spec, monkeypatch):
    monkeypatch.setenv("FAKE_OFFLINE", "1")
    with pytest.raises(FleetError) as caught:
        run(spec)
    assert caught.value.variable == "conda_env_installer_url"
    assert "conda.anaconda.org" in caught.value.found
    for name in ("conda_env_channels", "conda_env_environment", "conda_env_installer_url", "26.3.2-3"):
        assert name in caught.value.remedy
    monkeypatch.delenv("FAKE_OFFLINE")
    assert run(spec)["changed"]


def test_the_pinned_installer_is_none_of_those_that_want_the_network():
    pinned = yaml.safe_load((ROOT / "roles/conda_env/defaults/main.yml").read_text())["conda_env_installer_url"]
    assert not re.search(r"26\.3\.2-[012]\b", pinned)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, {"CUDA_HOME": "/c", "LD_LIBRARY_PATH": "/c/lib64", "PATH": "/c/bin:/e/bin:"}),
        ({"nvidia_gpu_expected": False}, {"CUDA_HOME": None, "LD_LIBRARY_PATH": None, "PATH": "/e/bin:"}),
        ({"run_config_env": {"LD_LIBRARY_PATH": "/x", "N": 1}}, {"LD_LIBRARY_PATH": "/x", "N": "1", "CUDA_HOME": "/c"}),
    ],
)
def test_what_the_script_exports(settings, wanted):
    made = Script.of({"nvidia_gpu_expected": True, "nvidia_cuda_home": "/c", **settings}).environment("/e")
    assert {name: (made.get(name) or "")[: len(value or "")] or None for name, value in wanted.items()} == wanted
