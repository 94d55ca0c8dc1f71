"""work() from nothing, on updates, locks and refusals."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import observe as conda_env
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import sources as conda_sources
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import tools as conda_tools

from tests.unit.support.conda_host import INSTALLER, assert_clean, calls, environments, in_sync, make_spec, run


@pytest.fixture
def spec(tmp_path, monkeypatch):
    return make_spec(tmp_path, monkeypatch)


def test_from_nothing_to_a_proved_environment_and_then_nothing_to_do(spec):
    told = []
    result = run(spec, lambda *args: told.append(args))
    assert result["changed"]
    assert result["torch"]["cuda"] == "12.8"
    assert result["versions"] == {"pip": "25.1", "torch": "2.7.1", "einops": "0.8.1", "flash-attn": "2.8.2"}
    assert os.readlink(spec["prefix"]) == f"bagel-canvas.{result['digest'][:8]}"
    assert (1000, 2000, "B", "torch-2.7.1-py3-none-any.whl") in told
    assert in_sync(spec)
    before = calls(spec)
    assert run(spec)["changed"] is False
    assert calls(spec) == before
    assert_clean(spec)


def test_conda_and_pip_are_told_where_to_look_and_nowhere_else(spec):
    run(spec)
    installer, create, packages, _abi, flash, proof = calls(spec)
    assert installer.endswith(f"-b -p {spec['root']}")
    assert "--override-channels --channel http://channel.test/forge python=3.10 pip" in create
    assert "--index-url http://index.test:8080/simple/ --extra-index-url https://download" in packages
    assert "--trusted-host index.test --progress-bar raw torch==2.7.1 einops==0.8.1" in packages
    assert "--no-deps https://mirror.test/fa/v2.8.2/flash_attn-2.8.2%2Bcu12torch2.7cxx11abiTRUE-cp310" in flash
    assert "--no-compile" in packages
    assert "--no-compile" in flash
    assert proof.startswith("python -c"), "what the proof imports stays compiled"


HASH = "a" * 64
LOCKED = {
    "conda_lock": [
        "# Made by make lock",
        "@EXPLICIT",
        f"https://original.test/forge/linux-64/python-3.10.18-h_0.conda#sha256:{HASH}",
        f"https://original.test/forge/noarch/pip-25.1-pyh_0.conda#sha256:{HASH}",
    ],
    "pip_lock": [
        f"torch==2.7.1 --hash=sha256:{HASH}",
        f"einops==0.8.1 --hash=sha256:{HASH}",
        f"sympy==1.14 --hash=sha256:{HASH}",
    ],
}


def test_a_lock_is_taken_as_it_is_and_nothing_is_solved(spec):
    locked = {**spec, **LOCKED}
    result = run(locked)
    assert result["versions"]["sympy"] == "1.14"
    assert in_sync(locked)
    told = calls(spec)
    create = next(line for line in told if line.startswith("conda create"))
    assert create.endswith("conda-lock.txt")
    assert "--channel" not in create
    assert [line for line in told if line.startswith("locked")] == [
        "locked @EXPLICIT",
        f"locked http://channel.test/forge/linux-64/python-3.10.18-h_0.conda#sha256:{HASH}",
        f"locked http://channel.test/forge/noarch/pip-25.1-pyh_0.conda#sha256:{HASH}",
    ], "from the mirror that was named, by the lock's digests"
    assert any("--require-hashes --no-deps --requirement" in line for line in told)
    assert not run(locked)["changed"]
    assert_clean(spec)


def test_a_channel_by_its_name_leaves_the_lock_s_urls(spec):
    run({**spec, **LOCKED, "channels": ["conda-forge"]})
    assert f"locked {LOCKED['conda_lock'][2]}" in calls(spec)


def test_a_lock_of_several_channels_is_taken_from_the_mirror_of_each():
    lock = [f"https://conda.test/{name}/linux-64/x-1-0.conda#sha256:0" for name in ("conda-forge", "nvidia", "else")]
    mirrors = ["http://m.test/conda-forge/", "http://m.test/cloud/nvidia"]
    assert conda_sources.locked_urls(lock, {"channels": mirrors, "wheelhouse": ""}) == [
        "http://m.test/conda-forge/linux-64/x-1-0.conda#sha256:0",
        "http://m.test/cloud/nvidia/linux-64/x-1-0.conda#sha256:0",
        "http://m.test/conda-forge/linux-64/x-1-0.conda#sha256:0",
    ]


def test_a_lock_of_other_packages_is_refused_before_anything_is_fetched(spec):
    with pytest.raises(FleetError) as caught:
        run({**spec, **LOCKED, "pip_packages": ["torch==2.8.0"]})
    assert caught.value.variable == "conda_env_lock"
    assert "make lock" in caught.value.remedy
    assert calls(spec) == []


def test_a_new_lock_is_built_aside_and_one_that_fails_leaves_the_old_one_working(spec, monkeypatch):
    run({**spec, **LOCKED})
    before = os.readlink(spec["prefix"])
    newer = {**spec, **LOCKED, "pip_lock": [*LOCKED["pip_lock"], f"rich==15 --hash=sha256:{HASH}"]}
    monkeypatch.setenv("FAKE_MISSING", "rich")
    with pytest.raises(FleetError):
        run(newer)
    assert os.readlink(spec["prefix"]) == before
    assert in_sync({**spec, **LOCKED})
    monkeypatch.delenv("FAKE_MISSING")
    run(newer)
    assert os.readlink(spec["prefix"]) != before


def test_with_a_wheelhouse_no_other_place_is_asked(spec, tmp_path):
    house = tmp_path / "house"
    (house / "installer").mkdir(parents=True)
    shutil.copy(INSTALLER, house / "installer")
    offline = {**spec, **LOCKED, "wheelhouse": str(house), "installer_url": f"https://nowhere.test/{INSTALLER.name}"}
    run(offline)
    told = "\n".join(calls(spec))
    assert "http" not in told.replace(f"file://{house}", "")
    assert f"--no-index --find-links {house}/wheels" in told
    assert f"locked file://{house}/conda/linux-64/python-3.10.18-h_0.conda#sha256:{HASH}" in told
    assert f"--no-deps file://{house}/wheels/flash_attn-2.8.2%2Bcu12torch2.7cxx11abiTRUE-cp310" in told


def test_the_wheel_of_flash_attn_is_taken_by_its_digest_when_that_is_known(spec):
    run({**spec, "flash_attn_sha256": HASH})
    assert any(line.endswith(f"linux_x86_64.whl#sha256={HASH}") for line in calls(spec))


def test_flash_attn_is_built_with_the_toolkit_and_not_without(spec):
    source = {**spec, "flash_attn_from": "source"}
    with pytest.raises(FleetError) as caught:
        run(source)
    assert caught.value.variable == "conda_env_flash_attn_from"
    assert "nvidia_toolkit" in caught.value.remedy
    nvcc = Path(spec["nvidia_cuda_home"], "bin", "nvcc")
    nvcc.parent.mkdir(parents=True)
    nvcc.touch(mode=0o755)
    run(source)
    assert any(
        "--no-build-isolation --no-deps --no-binary=flash-attn flash-attn==2.8.2" in line for line in calls(spec)
    )
    assert in_sync(source)


def test_no_flash_attn_where_none_is_wanted(spec):
    none = {**spec, "flash_attn_from": "none", "imports": ["torch"]}
    assert "flash-attn" not in run(none)["versions"]
    assert in_sync(none)


def test_while_pip_unpacks_the_seconds_are_told_and_not_the_list_of_packages(tmp_path):
    told = []
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\necho Collecting a\necho 'Installing collected packages: a, b, c'\nsleep 1.3\necho Successfully x\n"
    )
    python.chmod(0o755)
    conda_tools.pip(str(python), ["a"], "failed", lambda *args: told.append(args), "x")
    assert told == [
        (0, 0, "", "pip: Collecting a"),
        (0, 0, "s", "installing 3 packages"),
        (1, 0, "s", "installing 3 packages"),
        (0, 0, "", "pip: Successfully x"),
    ]


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"pip_packages": ["torch==2.7.1", "einops==0.7.0"]}, 2),
        ({"python": "3.11"}, 2),
        ({"flash_attn": "", "imports": ["torch"]}, 2),
        ({"imports": ["torch"]}, 1),
        ({"pip_index_url": "http://mirror.test/", "channels": ["conda-forge"]}, 1),
    ],
    ids=["another pin", "another python", "no flash-attn", "fewer imports", "another mirror"],
)
def test_what_changes_the_contents_is_built_beside_the_old_one(spec, change, kept):
    run(spec)
    changed = {**spec, **change}
    assert run(changed)["changed"] is (kept == 2)
    assert in_sync(changed)
    assert len(environments(spec)) == kept + 1
    assert_clean(spec)


def test_going_back_to_the_list_before_builds_nothing(spec):
    first = run(spec)
    run({**spec, "python": "3.11"})
    before = len(calls(spec))
    assert run(spec)["changed"]
    assert len(calls(spec)) == before
    assert os.readlink(spec["prefix"]).endswith(first["digest"][:8])


def test_only_the_one_before_is_kept_and_what_still_runs(spec, monkeypatch):
    run(spec)
    run({**spec, "python": "3.11"})
    oldest = f"{spec['prefix']}.{conda_env.wanted(spec).digest[:8]}"
    monkeypatch.setattr(conda_tools, "in_use", lambda path: path == oldest)
    run({**spec, "python": "3.12"})
    assert Path(oldest).exists()
    monkeypatch.setattr(conda_tools, "in_use", lambda path: False)
    run({**spec, "python": "3.13"})
    assert not Path(oldest).exists()
    assert len(environments(spec)) == 3
    assert_clean(spec)


def test_a_process_of_the_environment_is_seen(tmp_path):
    program = shutil.copy(shutil.which("sleep"), tmp_path / "sleep")
    assert not conda_tools.in_use(str(tmp_path))
    with subprocess.Popen([program, "30"]) as process:
        assert conda_tools.in_use(str(tmp_path))
        process.kill()


def test_other_imports_are_proved_without_building(spec):
    run({**spec, "imports": ["torch"]})
    before = calls(spec)
    assert run(spec)["changed"]
    assert [line[:10] for line in calls(spec)[len(before) :]] == ["python -c "]
    assert in_sync(spec)


def test_a_package_that_was_changed_by_hand_leads_to_a_fresh_build(spec):
    run(spec)
    site = Path(spec["prefix"]) / "lib" / "python3.10" / "site-packages"
    (site / "torch-2.7.1.dist-info").rename(site / "torch-2.6.0.dist-info")
    assert not in_sync(spec)
    run(spec)
    assert os.readlink(spec["prefix"]).endswith("-2")
    assert in_sync(spec)


@pytest.mark.parametrize(
    ("trouble", "variable", "words"),
    [
        ({"FAKE_MISSING": "einops"}, "conda_env_pip_packages", "No matching distribution found for einops==0.8.1"),
        ({"FAKE_UNSOLVABLE": "1"}, "conda_env_channels", "PackagesNotFoundError"),
    ],
    ids=["pip does not find a pin", "conda does not find python"],
)
def test_a_failed_update_leaves_the_working_environment_in_place(spec, monkeypatch, trouble, variable, words):
    run({**spec, "python": "3.9"})
    before = os.readlink(spec["prefix"])
    for name, value in trouble.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FleetError) as caught:
        run(spec)
    assert (caught.value.variable, words in caught.value.found) == (variable, True)
    assert os.readlink(spec["prefix"]) == before
    assert environments(spec) == ["bagel-canvas", before]
    for name in trouble:
        monkeypatch.delenv(name)
    assert run(spec)["changed"]
    assert in_sync(spec)
    assert_clean(spec)


def test_an_import_that_fails_is_named_and_nothing_is_switched(spec):
    with pytest.raises(FleetError) as caught:
        run({**spec, "imports": ["torch", "decord", "wandb"]})
    assert "decord: ModuleNotFoundError" in caught.value.found
    assert "wandb" in caught.value.found
    assert not os.path.lexists(spec["prefix"])


def test_an_installer_that_is_not_the_one_that_was_meant_is_not_run(spec):
    with pytest.raises(FleetError) as caught:
        run({**spec, "installer_sha256": "0" * 64})
    assert caught.value.variable == "conda_env_installer_sha256"
    assert calls(spec) == []
    assert not os.path.lexists(spec["root"])


def test_an_environment_of_the_user_is_refused_and_untouched(spec):
    theirs = Path(spec["prefix"])
    theirs.mkdir(parents=True)
    (theirs.parents[1] / "conda-meta").mkdir()
    (theirs.parents[1] / "conda-meta" / "conda-24.1.0-py311_0.json").touch()
    (theirs / "notes.txt").write_text("mine")
    with pytest.raises(FleetError) as caught:
        run(spec)
    assert "conda_env_use_existing" in caught.value.remedy
    assert [path.name for path in theirs.iterdir()] == ["notes.txt"]


def test_an_adopted_environment_is_only_proved(spec):
    run(spec)
    theirs = Path(spec["prefix"])
    build = theirs.resolve()
    (build / conda_env.RECORD).unlink()
    before = sorted(build.rglob("*"))
    adopted = {**spec, "use_existing": True, "python": "3.12", "pip_packages": ["torch==1.0"], "flash_attn": ""}
    assert run(adopted)["changed"]
    assert run(adopted)["changed"] is False
    assert in_sync(adopted)
    assert sorted(build.rglob("*")) == before


def test_a_user_s_conda_is_used_and_not_reinstalled(spec):
    run(spec)
    shutil.rmtree(Path(spec["root"]) / "envs")
    run(spec)
    assert [line.split()[0] for line in calls(spec)].count("installer") == 1


@pytest.mark.parametrize("moment", ["installer", "create", "pip", "import"])
def test_a_program_killed_half_way_is_survived_by_the_next_run(spec, monkeypatch, moment):
    monkeypatch.setenv("FAKE_DIE", moment)
    with pytest.raises(FleetError) as caught:
        run(spec)
    assert "exit code -9" in caught.value.found
    assert not os.path.lexists(spec["prefix"])
    monkeypatch.delenv("FAKE_DIE")
    assert run(spec)["changed"]
    assert in_sync(spec)
    assert_clean(spec)
