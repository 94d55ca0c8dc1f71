"""What the defaults of conda_env look up on the controller."""

import pytest
from ansible.errors import AnsibleError
from ansible_collections.canvas.fleet.plugins.lookup import env_lock, env_mirror


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


def test_the_presets_have_the_same_entries():
    look = env_mirror.LookupModule()
    assert look.run(["none", "channels"]) == [["conda-forge"]]
    assert look.run(["china", "channels"])[0][0].endswith("/conda-forge")
    assert look.run(["none", "pip_index_url"]) == [""]
    with pytest.raises(AnsibleError, match="conda_env_mirrors: mars is no preset"):
        look.run(["mars", "channels"])
