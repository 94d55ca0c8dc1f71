"""The lock: what pip and the channel give is taken with digests, and what does not fit is refused."""

import json
import subprocess

import pytest
import yaml

from demo.depot import channel
from tools import lock, wheelhouse

SHA = "ab" * 32


def item(name, version, *needs, python="", digest=SHA):
    metadata = {"name": name, "version": version, "requires_dist": list(needs), "requires_python": python}
    return {"metadata": metadata, "download_info": {"archive_info": {"hashes": {"sha256": digest} if digest else {}}}}


FLAWS = {
    "a closed set": ([item("a", "1.0", "b>=2"), item("b", "2.1")], []),
    "a package that only this Python's marker asks for": (
        [item("a", "1.0", 'c>=1; python_version < "3.11"')],
        ["a 1.0 needs c>=1, there is none"],
    ),
    "a marker of another system": ([item("a", "1.0", 'c; sys_platform == "win32"', 'd; extra == "x"')], []),
    "a version that does not fit": ([item("a", "1.0", "b<2"), item("b", "2.1")], ["a 1.0 needs b<2, there is 2.1"]),
    "a package for a newer Python": ([item("a", "3.6", python=">=3.11")], ["a 3.6 needs Python >=3.11"]),
    "names in another spelling": ([item("A_b", "1.0", "C.d"), item("c-D", "1")], []),
}


@pytest.mark.parametrize(("report", "found"), FLAWS.values(), ids=FLAWS)
def test_the_set_is_judged_for_the_environment_s_python(report, found):
    assert lock.flaws(report, "3.10") == found


def test_a_lock_has_a_digest_for_every_package_or_is_not_made(monkeypatch):
    values = {"conda_env_python": "3.10", "glibc": "2.34"}
    monkeypatch.setattr(lock, "resolve", lambda values: [item("b", "2"), item("A_x", "1")])
    head, *lines = lock.pip_lock(values).splitlines()
    assert head.startswith("# Made by `make lock` for Python 3.10")
    assert lines == [f"a-x==1 --hash=sha256:{SHA}", f"b==2 --hash=sha256:{SHA}"]
    monkeypatch.setattr(lock, "resolve", lambda values: [item("b", "2", digest="")])
    with pytest.raises(lock.LockError, match="gives no SHA-256"):
        lock.pip_lock(values)


@pytest.fixture
def shelf(tmp_path):
    """A conda channel with python, pip, and a package that needs python."""
    out = tmp_path / "channel"
    for name, version, needs in (
        ("python", "3.10.1", ()),
        ("pip", "25", ("python >=3.10",)),
        ("tool", "1.0", ("pip",)),
    ):
        tree = tmp_path / name
        tree.mkdir()
        (tree / "x").write_text(name)
        channel.make_package(channel.Recipe(name, version, "noarch", "h_0", needs), tree, out)
    channel.index(out)
    return out


def test_conda_s_part_is_solved_from_a_real_channel_and_the_wheelhouse_takes_it(shelf, tmp_path):
    values = {"conda_env_python": "3.10", "conda_env_channels": [shelf.as_uri()], "glibc": "2.34"}
    lines = lock.conda_lock({**values, "conda_env_conda_packages": ["tool"]}).splitlines()
    assert lines[1] == "@EXPLICIT"
    assert [line.rsplit("/", 1)[1].split("#")[0] for line in lines[2:]] == [
        "pip-25-h_0.conda",
        "python-3.10.1-h_0.conda",
        "tool-1.0-h_0.conda",
    ]
    house = tmp_path / "house"
    assert wheelhouse.conda_part(house, list(wheelhouse.lock_lines(lines))) == 3
    assert sorted(path.name for path in (house / "conda" / "noarch").iterdir())[0] == "pip-25-h_0.conda"
    (shelf / "noarch" / "pip-25-h_0.conda").write_text("another file")
    (house / "conda" / "noarch" / "pip-25-h_0.conda").unlink()
    with pytest.raises(wheelhouse.FleetError, match="has another digest"):
        wheelhouse.conda_part(house, list(wheelhouse.lock_lines(lines)))


def test_a_package_that_the_channel_does_not_have_is_told_and_no_lock_is_changed(shelf, tmp_path, capsys):
    given = tmp_path / "vars.yml"
    values = {"conda_env_python": "3.12", "conda_env_channels": [shelf.as_uri()]}
    given.write_text(yaml.safe_dump(values))
    folder = tmp_path / "lock"
    assert lock.main([str(folder), "--vars", str(given), "--part", "conda"]) == 1
    assert "no lock was changed" in capsys.readouterr().err
    assert not folder.exists()


def test_pip_is_asked_for_the_hosts_system_and_the_environment_s_python():
    words = lock.platform_words(
        {"conda_env_python": "3.10", "glibc": "2.28", "conda_env_pip_index_url": "http://i.test:80/simple/"}
    )
    assert "--python-version=3.10" in words
    assert "--platform=manylinux_2_28_x86_64" in words
    assert "--platform=manylinux_2_31_x86_64" not in words
    assert words[-2:] == ["--index-url=http://i.test:80/simple/", "--trusted-host=i.test"]


def test_what_pip_says_is_told(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="WARNING: x\nERROR: No matching distribution for a\n")
    monkeypatch.setattr(lock.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(lock.LockError, match="No matching distribution for a"):
        lock.resolve({"conda_env_python": "3.10", "glibc": "2.34", "conda_env_pip_packages": ["a==9"]})


def test_the_shipped_lock_is_one_of_the_role_s_own_packages():
    values = lock.settings([])
    lines = (lock.LOCKS / values["conda_env_lock"] / "pip.txt").read_text().splitlines()
    locked = wheelhouse.pins_of(line.split(" ")[0] for line in lines)
    asked = wheelhouse.pins_of(values["conda_env_pip_packages"])
    assert {name: locked.get(name) for name in asked} == asked
    assert all(len(line.partition("sha256:")[2]) == 64 for line in lines if not line.startswith("#"))


def test_the_wheel_of_flash_attn_is_the_one_for_the_locked_torch(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(wheelhouse.subprocess, "run", lambda words, **k: called.append(words))
    values = {**lock.settings([]), "glibc": "2.34"}
    lines = ["torch==2.7.1 --hash=sha256:x", "nvidia-cuda-runtime-cu12==12.6.77 --hash=sha256:y"]
    assert wheelhouse.flash_part(tmp_path, lines, values) == 1
    assert called[0][-1].endswith("flash_attn-2.8.2%2Bcu12torch2.7cxx11abiTRUE-cp310-cp310-linux_x86_64.whl")
    assert wheelhouse.flash_part(tmp_path, lines, {**values, "conda_env_flash_attn_from": "source"}) == 0


def test_derived_defaults_do_not_stand_in_for_values():
    values = lock.settings([])
    assert values["conda_env_channels"] == ["conda-forge"]
    assert "{{" not in json.dumps(values)


SEALED = {
    "a value that is not needed": ("run_config_wandb_api_key: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  66\n", ""),
    "a value of the environment": ("conda_env_pip_index_url: !vault |\n  66\n", "conda_env_pip_index_url is encrypted"),
    "a whole file": ("$ANSIBLE_VAULT;1.1;AES256\n6638\n", "encrypted as a whole"),
    "no YAML": ("a: [", "is no YAML"),
}


@pytest.mark.parametrize(("text", "told"), SEALED.values(), ids=SEALED)
def test_variables_that_only_ansible_can_open(tmp_path, text, told):
    given = tmp_path / "all.yml"
    given.write_text(text)
    if not told:
        assert lock.settings([given])["conda_env_python"] == "3.10"
        return
    with pytest.raises(lock.LockError, match=told):
        lock.settings([given])
