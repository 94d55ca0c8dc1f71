"""What the defaults of conda_env look up on the controller."""

import pytest
from ansible.errors import AnsibleError
from ansible_collections.canvas.fleet.plugins.lookup import env_lock

from tests.fuzz.fleet import Host, settings


def test_a_lock_of_the_role_and_one_of_the_user_s(tmp_path):
    assert any(line.startswith("torch==2.7.1 --hash=sha256:") for line in env_lock.lines("cu126", "pip"))
    (tmp_path / "conda.txt").write_text("@EXPLICIT\nhttps://c/linux-64/a-1-0.conda#sha256:0\n")
    assert env_lock.lines(str(tmp_path), "conda")[0] == "@EXPLICIT"
    assert env_lock.lines(str(tmp_path), "pip") == []
    assert env_lock.lines("", "pip") == []


@pytest.mark.parametrize("name", ["cu999", "/nowhere/at/all"])
def test_a_lock_that_is_not_there_is_told_with_those_that_are(name):
    with pytest.raises(AnsibleError, match=r"conda_env_lock: there is no lock .*cu126"):
        env_lock.lines(name, "pip")


TUNA, NVIDIA = "https://mirrors.tuna.tsinghua.edu.cn/", "https://developer.download.nvidia."
MIRRORED = ("conda_env_channels", "conda_env_pip_index_url", "nvidia_repository_url")
PRESETS = {
    "none": [["conda-forge"], "", f"{NVIDIA}com/compute/cuda/repos"],
    "china": [[f"{TUNA}anaconda/cloud/conda-forge"], f"{TUNA}pypi/web/simple", f"{NVIDIA}cn/compute/cuda/repos"],
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_of_mirrors_sets_all_addresses_and_each_can_be_set_alone(preset):
    told, findings = settings(Host("h", {"fleet_mirrors": preset}))
    assert findings == []
    assert [told[name] for name in MIRRORED] == PRESETS[preset]
    for name in MIRRORED:
        own = ["https://m.test/c"] if name == "conda_env_channels" else "https://m.test/c"
        told, findings = settings(Host("h", {"fleet_mirrors": preset, name: own}))
        assert findings == []
        assert told[name] == own
    told, _ = settings(Host("h", {"fleet_mirrors": preset, "fleet_pip_index_url": "https://m.test/simple"}))
    assert told["conda_env_pip_index_url"] == "https://m.test/simple"


def test_a_preset_that_is_not_there_is_told_with_those_that_are():
    _, (found,) = settings(Host("h", {"fleet_mirrors": "mars"}))
    assert (found.code, found.variable) == ("VARIABLE_INVALID", "fleet_mirrors")
    assert "none, china" in found.expected
