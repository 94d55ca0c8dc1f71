"""What is read of an environment, and what is said about it."""

import json

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import decide as conda_env_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import observe as conda_env
from hypothesis import given
from hypothesis import strategies as st

SHAPE = Topology("r", ("h",), 0, 1, 0, "localhost", 29501)


def settings(**changes):
    values = {
        "root": "/srv/b/miniforge3",
        "prefix": "/srv/b/miniforge3/envs/bagel-canvas",
        "state_dir": "/nowhere",
        "python": "3.10",
        "conda_packages": [],
        "pip_packages": ["torch==2.7.1", "opencv_python==4.7.0.72", "datasets", "uvicorn[standard]==0.30.1"],
        "flash_attn": "2.8.2",
        "imports": ["torch", "cv2"],
        "use_existing": False,
        "conda_lock": [],
        "pip_lock": [],
        "flash_attn_from": "wheel",
        **changes,
    }
    return {f"conda_env_{name}": value for name, value in values.items()} | OTHERS


OTHERS = {
    "fleet_state_dir": "/nowhere",
    "run_config_use_flex": False,
    "nvidia_gpu_expected": True,
    "nvidia_cuda_home": "/usr/local/cuda-12.6",
}


def observed(**changes):
    """A converged host, as observe() reports it; `changes` by dotted path."""
    versions = {
        "torch": "2.7.1+cu128",
        "opencv-python": "4.7.0.72",
        "uvicorn": "0.30.1",
        "flash-attn": "2.8.2",
        "pillow": "11.3.0",
    }
    seen = {
        "root": {"kind": "folder", "conda": "26.3.2", "empty": False, "half": False},
        "prefix": {"kind": "link", "target": "/x", "python_runs": True, "python": "3.10.18"},
        "record": {
            "digest": conda_env.wanted(settings()).digest,
            "python": "3.10.18",
            "versions": versions,
            "imports": ["torch", "cv2"],
        },
        "ours": True,
        "installed": dict(versions),
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = seen
        for name in parents:
            place = place[name]
        place[last] = value
    return wire.from_dict(conda_env.Observation, seen)


LOCK = [
    "# Made by make lock",
    "torch==2.7.1 --hash=sha256:a",
    "opencv-python==4.7.0.72 --hash=sha256:b",
    "datasets==3.0 --hash=sha256:c",
    "uvicorn==0.30.1 --hash=sha256:d",
]
ABSENT = {"prefix__kind": "absent", "prefix__python_runs": False, "record": None, "ours": False, "installed": {}}
WITH = observed().installed
CASES = {
    "converged": ({}, {}, []),
    "nothing there": (
        {**ABSENT, "root": {"kind": "absent", "conda": "", "empty": True, "half": False}},
        {},
        ["no conda at /srv/b/miniforge3; environment bagel-canvas does not exist"],
    ),
    "conda alone": (ABSENT, {}, ["environment bagel-canvas does not exist"]),
    "an installation that was cut": (
        {**ABSENT, "root": {"kind": "folder", "conda": "", "empty": False, "half": True}},
        {},
        ["no conda at /srv/b/miniforge3; environment bagel-canvas does not exist"],
    ),
    "the link points nowhere": (
        {**ABSENT, "prefix__kind": "broken_link"},
        {},
        ["environment bagel-canvas does not exist"],
    ),
    "python was removed": ({"prefix__python_runs": False}, {}, ["no python in /srv/b/miniforge3/envs/bagel-canvas"]),
    "an older torch": ({"installed": {**WITH, "torch": "2.6.0"}}, {}, ["torch 2.6.0 instead of 2.7.1"]),
    "a pin that begins alike": ({"installed": {**WITH, "torch": "2.7.10"}}, {}, ["torch 2.7.10 instead of 2.7.1"]),
    "a local build that was asked for": (
        {},
        {"pip_packages": ["torch==2.7.1+cu126"]},
        ["torch 2.7.1+cu128 instead of 2.7.1+cu126"],
    ),
    "a pin that is not there": (
        {},
        {"pip_packages": ["torch==2.7.1", "decord==0.6.0"]},
        ["decord 0.6.0 is missing"],
    ),
    "a package without pin was changed by hand": (
        {"installed": {**WITH, "pillow": "9.0.0"}},
        {},
        ["pillow 9.0.0 instead of 11.3.0 (changed by hand)"],
    ),
    "a package that came beside ours": ({"installed": {**WITH, "ipython": "9.0"}}, {}, []),
    "another python": ({}, {"python": "3.11"}, ["python 3.10.18 instead of 3.11"]),
    "python 3.1 is not 3.10": ({}, {"python": "3.1"}, ["python 3.10.18 instead of 3.1"]),
    "an unpinned package more": (
        {},
        {"pip_packages": [*settings()["conda_env_pip_packages"], "rich"]},
        ["the list of packages changed"],
    ),
    "one more import": ({}, {"imports": ["torch", "cv2", "wandb"]}, ["import not tested: wandb"]),
    "many differences": (
        {},
        {"pip_packages": [f"p{number}==1" for number in range(6)], "flash_attn": ""},
        ["p0 1 is missing, p1 1 is missing, p2 1 is missing, p3 1 is missing and 2 more"],
    ),
    "no flash-attn is wanted": ({}, {"flash_attn_from": "none"}, ["the list of packages changed"]),
    "to build flash-attn": ({}, {"flash_attn_from": "source"}, ["the list of packages changed"]),
    "a lock of the same versions": (
        {"installed": {**WITH, "datasets": "3.0"}},
        {"pip_lock": LOCK},
        ["the list of packages changed"],
    ),
    "a lock with a package more": (
        {"installed": {**WITH, "datasets": "3.0"}},
        {"pip_lock": [*LOCK, "pillow==12.0 --hash=sha256:1"]},
        ["pillow 11.3.0 instead of 12.0"],
    ),
    "an adopted one, proved": ({"ours": False, "prefix__kind": "folder"}, {"use_existing": True, "python": "3.12"}, []),
    "an adopted one, not proved": (
        {"ours": False, "prefix__kind": "folder", "record": None},
        {"use_existing": True},
        ["the imports were never tested"],
    ),
}


@pytest.mark.parametrize(("changes", "wants", "reasons"), CASES.values(), ids=CASES)
def test_reasons(changes, wants, reasons):
    plan = conda_env_plan.decide(observed(**changes), settings(**wants), SHAPE)
    assert list(plan.reasons) == reasons
    assert plan.findings == ()


def test_the_summary_of_a_converged_role():
    plan = conda_env_plan.decide(observed(), settings(), SHAPE)
    assert plan.in_sync
    assert plan.summary == "python 3.10.18, 5 packages, torch 2.7.1+cu128, 2 imports tested"


FOREIGN = {
    "an environment of the user": ({"prefix__kind": "folder", "ours": False, "record": None}, {}, "CONDA_ENV_FOREIGN"),
    "a link of the user": ({"prefix__kind": "link", "ours": False, "record": None}, {}, "CONDA_ENV_FOREIGN"),
    "… that may be used": ({"prefix__kind": "folder", "ours": False, "record": None}, {"use_existing": True}, None),
    "files where conda should go": ({**ABSENT, "root__conda": ""}, {}, "CONDA_ROOT_FOREIGN"),
    "… in an empty folder": ({**ABSENT, "root__conda": "", "root__empty": True}, {}, None),
    "… that are our own half": ({**ABSENT, "root__conda": "", "root__half": True}, {}, None),
    "a file for a root": ({**ABSENT, "root__kind": "file"}, {}, "PATH_IS_A_FILE"),
    "a file for an environment": ({**ABSENT, "prefix__kind": "file"}, {}, "PATH_IS_A_FILE"),
}


@pytest.mark.parametrize(("changes", "wants", "code"), FOREIGN.values(), ids=FOREIGN)
def test_what_is_the_user_s_is_refused_before_any_change(changes, wants, code):
    plan = conda_env_plan.decide(observed(**changes), settings(**wants), SHAPE)
    assert [found.code for found in plan.findings] == ([code] if code else [])
    assert all(found.refuses and found.variable and found.remedy for found in plan.findings)
    assert not plan.in_sync


NAMES = st.text(st.sampled_from("abcXYZ019._-"), min_size=1, max_size=8)


@given(st.lists(NAMES, max_size=5), st.randoms())
def test_the_digest_does_not_depend_on_the_order_of_the_list(names, random):
    shuffled = list(names)
    random.shuffle(shuffled)
    first, second = (conda_env.wanted(settings(pip_packages=names)) for names in (names, shuffled))
    assert first.digest == second.digest


CONDA_LOCK = [
    "@EXPLICIT",
    "https://original.test/forge/linux-64/python-3.10.18-h_0.conda#sha256:0",
    "https://original.test/forge/linux-64/gxx_linux-64-12.4.0-h_1.conda#sha256:0",
]
STALE = {
    "another version": ({"pip_packages": ["torch==2.8.0"]}, "the lock has torch 2.7.1"),
    "a build of the same version": (
        {"pip_packages": ["torch==2.7.1"], "pip_lock": ["torch==2.7.1+cu128 --hash=sha256:a"]},
        None,
    ),
    "a build that was not meant": (
        {"pip_packages": ["torch==2.7.1+cu126"], "pip_lock": ["torch==2.7.1+cu128 --hash=sha256:a"]},
        "the lock has torch 2.7.1+cu128",
    ),
    "a package that is not in it": ({"pip_packages": ["torch==2.7.1", "rich"]}, "the lock has rich missing"),
    "a pin that is not in it": ({"pip_packages": ["rich==1"]}, "the lock has rich missing"),
    "the same versions": ({"pip_packages": ["Torch == 2.7.1", "opencv_python==4.7.0.72", "uvicorn[standard]"]}, None),
    "an adopted environment": ({"pip_packages": ["torch==2.8.0"], "use_existing": True}, None),
    "the lock of another Python": (
        {"python": "3.11", "pip_packages": [], "pip_lock": ["# Made by `make lock` for Python 3.10, Linux", *LOCK]},
        "the lock was made for Python 3.10",
    ),
    "a micro version of the lock's Python": (
        {"python": "3.10.14", "pip_packages": [], "pip_lock": ["# Made by `make lock` for Python 3.10, Linux", *LOCK]},
        None,
    ),
    "conda's part of another Python": (
        {"python": "3.11", "pip_packages": [], "conda_lock": CONDA_LOCK},
        "the lock was made for Python 3.10.18",
    ),
    "a package that conda's part lacks": (
        {"pip_packages": [], "conda_lock": CONDA_LOCK, "conda_packages": ["ffmpeg>=6", "conda-forge::gxx_linux-64=13"]},
        "the lock has ffmpeg missing, gxx_linux-64 12.4.0",
    ),
    "packages that conda's part has": (
        {"pip_packages": [], "conda_lock": CONDA_LOCK, "conda_packages": ["gxx_linux-64=12.*", "Python >=3.9"]},
        None,
    ),
    "no lock": ({"pip_packages": ["torch==2.8.0"], "pip_lock": []}, None),
}


@pytest.mark.parametrize(("wants", "found"), STALE.values(), ids=STALE)
def test_a_lock_of_other_packages_is_refused(wants, found):
    plan = conda_env_plan.decide(observed(), settings(**{"pip_lock": LOCK, **wants}), SHAPE)
    assert [one.found for one in plan.findings if one.code == "CONDA_LOCK_STALE"] == ([found] if found else [])


def test_a_mirror_of_the_channel_does_not_change_the_digest():
    here, there = (f"https://{host}/linux-64/python-3.10.18-h_0.conda#sha256:0" for host in ("a/forge", "b/mirror"))
    first, second = (conda_env.wanted(settings(conda_lock=["@EXPLICIT", url])) for url in (here, there))
    assert first.digest == second.digest != conda_env.wanted(settings()).digest


@pytest.mark.parametrize("name", ["python", "pip_packages", "conda_packages", "flash_attn", "pip_lock", "conda_lock"])
def test_the_digest_depends_on_all_that_the_environment_holds(name):
    changed = settings(**{name: ["x"] if "lock" in name or "packages" in name else "9"})
    assert conda_env.wanted(changed).digest != conda_env.wanted(settings()).digest


def test_observe_reads_an_absent_root_and_a_real_tree(tmp_path):
    root = tmp_path / "miniforge3"
    given_ = settings(root=str(root), prefix=str(root / "envs" / "e"), state_dir=str(tmp_path / "state"))
    seen = conda_env.observe(given_)
    assert (seen.root.kind, seen.prefix.kind, seen.record, seen.installed) == ("absent", "absent", None, {})
    build = root / "envs" / "e.0a1b2c3d"
    for name in ("opencv_python-4.7.0.72.dist-info", "torch-2.7.1+cu128.dist-info", "six.py", "-1.dist-info.bak"):
        (build / "lib" / "python3.10" / "site-packages" / name).mkdir(parents=True)
    for name in ("conda-libmamba-solver-25.4.0-pyhd_0.json", "conda-26.3.2-py313_0.json", "history"):
        (root / "conda-meta").mkdir(exist_ok=True)
        (root / "conda-meta" / name).touch()
    (build / "bin").mkdir()
    (build / "bin" / "python").touch(mode=0o755)
    (build / conda_env.RECORD).write_text(
        json.dumps({"digest": "d", "imports": {"torch": "2.7.1"}, "torch": {"cuda": "12.6"}})
    )
    (root / "envs" / "e").symlink_to(build.name)
    seen = conda_env.observe(given_)
    assert seen.root == conda_env.Root("folder", "26.3.2", empty=False)
    assert seen.prefix.kind == "link"
    assert seen.prefix.python_runs
    assert seen.ours
    assert seen.record == conda_env.Record("d", imports=("torch",), torch_cuda="12.6")
    assert seen.installed == {"opencv-python": "4.7.0.72", "torch": "2.7.1+cu128"}
    (build / "bin" / "python").chmod(0o644)
    assert not conda_env.observe(given_).prefix.python_runs


def test_the_optimizer_in_8_bits_is_proved_where_it_is_wanted():
    assert conda_env.wanted(settings()).imports == ("torch", "cv2")
    small = {**settings(), "run_config_optimizer": "adamw_8bit"}
    assert conda_env.wanted(small).imports == ("torch", "cv2", "bitsandbytes")
    assert conda_env.wanted(small).digest == conda_env.wanted(settings()).digest, "the environment stays as it is"
