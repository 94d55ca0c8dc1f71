"""The environment can be removed, and the next run repairs an interruption at any step."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import observe as conda_env
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import proof as conda_proof
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import tools as conda_tools
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import work as conda_env_work
from ansible_collections.canvas.fleet.plugins.module_utils.system import folders, http

from tests.unit.support.conda_host import KilledError, assert_clean, environments, in_sync, make_spec, run


@pytest.fixture
def spec(tmp_path, monkeypatch):
    return make_spec(tmp_path, monkeypatch)


def absent(spec):
    return run({**{name: spec[name] for name in ("root", "prefix", "state_dir")}, "absent": True})


def test_all_of_it_is_taken_back(spec):
    run(spec)
    run({**spec, "python": "3.11"})
    told = conda_env_work.preview({**spec, "absent": True})
    assert any(spec["prefix"] in text for text in told)
    result = absent(spec)
    assert (result["changed"], result["done"]) == (True, told)
    assert not os.path.lexists(spec["root"])
    assert os.listdir(spec["state_dir"]) == []
    assert not absent(spec)["changed"]


def test_an_environment_of_the_user_s_keeps_its_conda(spec):
    run(spec)
    theirs = Path(spec["root"], "envs", "theirs")
    theirs.mkdir()
    absent(spec)
    assert environments(spec) == ["theirs"]
    assert conda_env.conda_version(spec["root"])


def test_a_conda_and_an_environment_that_were_here_before_us_stay(spec):
    run(spec)
    Path(spec["state_dir"], "conda.json").unlink()
    Path(os.path.realpath(spec["prefix"]), conda_env.RECORD).unlink()
    before = sorted(Path(spec["root"]).rglob("*"))
    absent(spec)
    assert sorted(Path(spec["root"]).rglob("*")) == before


def test_nothing_is_taken_from_under_what_runs(spec, monkeypatch):
    run(spec)
    monkeypatch.setattr(conda_tools, "in_use", lambda path: True)
    with pytest.raises(FleetError, match="a running program uses"):
        absent(spec)
    assert in_sync(spec)


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
def test_a_removal_cut_at_any_step_is_finished_by_the_next(spec, monkeypatch, after):
    for number in range(1, 100):
        run(spec)
        with monkeypatch.context() as patch:
            reached = cut_at(patch, number, after=after)
            with contextlib.suppress(KilledError):
                absent(spec)
        absent(spec)
        assert not os.path.lexists(spec["root"]), reached
        assert os.listdir(spec["state_dir"]) == []
        if len(reached) < number:
            break
    assert number > 8


STEPS = [(os, "replace"), (os, "unlink"), (os, "symlink"), (folders, "make"), (folders, "remove_tree")]
STEPS += [(conda_tools, "call"), (conda_proof, "import_all"), (http, "fetch")]


def cut_at(monkeypatch, number, *, after):
    """Die before or after the step of that number. Returns the list of steps that were reached."""
    reached = []

    def cutting(name, real):
        def step(*args, **kwargs):
            reached.append(name)
            if len(reached) == number and not after:
                raise KilledError
            result = real(*args, **kwargs)
            if len(reached) >= number and after:
                raise KilledError
            return result

        return step

    for place, name in STEPS:
        monkeypatch.setattr(place, name, cutting(name, getattr(place, name)))
    return reached


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("change", [{}, {"python": "3.11"}, {"imports": ["torch"]}], ids=["first", "update", "proof"])
def test_a_cut_at_any_step_converges_on_the_next_run(spec, monkeypatch, tmp_path, change, after):
    number, cuts = 0, 0
    while True:
        number += 1
        for folder in (spec["root"], spec["state_dir"]):
            shutil.rmtree(folder, ignore_errors=True)
        if change:
            run({**spec, **change})
        live = os.path.realpath(spec["prefix"])
        with monkeypatch.context() as patch:
            reached = cut_at(patch, number, after=after)
            try:
                run(spec)
                if len(reached) < number:
                    break
            except KilledError:
                cuts += 1
        assert not change or os.path.exists(os.path.join(spec["prefix"], "bin", "python")), (number, reached)
        run(spec)
        assert in_sync(spec), (number, reached)
        assert not run(spec)["changed"]
        assert_clean(spec)
        assert not change or os.path.exists(live)
    assert cuts >= (3 if change.get("imports") else 12)
