"""What a value may be beyond its type. Whole inventories are mutated in tests/fuzz."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.plan import rules as value_rules
from ansible_collections.canvas.fleet.plugins.module_utils.plan import settings as core
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent.decide import ROOT_LIKE

from tests.unit.support.places import ROOT

ROLES = ROOT / "roles"
OPTIONS = core.options_of(
    {path.parts[-3]: yaml.safe_load(path.read_text()) for path in ROLES.glob("*/meta/argument_specs.yml")}
)


def codes(**given: Any) -> list[tuple[str, str]]:
    return [(found.code, found.variable) for found in core.resolve(OPTIONS, given)[1]]


BAD = [
    pytest.param("fleet_address", "fe80::1%eth0", id="an address with a zone of this machine alone"),
    pytest.param("run_config_save_every", 0, id="no step between two saves"),
    pytest.param("run_config_total_steps", True, id="yes where a number is meant"),
    pytest.param("run_config_lr", -1e-5, id="a learning rate below zero"),
    pytest.param("run_config_lr", float("nan"), id="no number at all"),
    pytest.param("run_config_ema", 1.0, id="an average that never moves"),
    pytest.param("run_config_num_workers", 0, id="no workers, which the DataLoader refuses"),
    pytest.param("run_config_master_port", 70000, id="a port beyond the last"),
    pytest.param("run_config_master_port", 80, id="a port that an account may not open"),
    pytest.param("run_config_text_cond_dropout_prob", 1.5, id="more than always"),
    pytest.param("weights_dir", "models/BAGEL", id="a relative path"),
    pytest.param("conda_env_wheelhouse", "wheels", id="a relative path of the controller"),
    pytest.param("conda_env_wheelhouse", "/srv/a\nb", id="two lines, of the controller"),
    pytest.param("weights_dir", "~/models", id="a home that is not expanded on the host"),
    pytest.param("weights_dir", "/", id="the whole disk"),
    pytest.param("weights_dir", None, id="a line without a value"),
    pytest.param("weights_dir", "/srv/a\nb", id="two lines"),
    pytest.param("conda_env_python", 3.1, id="3.10 without quotes, which YAML reads as 3.1"),
    pytest.param("conda_env_root", "/srv/my conda", id="conda takes no spaces"),
    pytest.param("weights_repo", "BAGEL-7B-MoT", id="a repository without its owner"),
    pytest.param("weights_files", ["../secret"], id="a file outside of the folder"),
    pytest.param("dataset_train_sha256", "abc", id="a digest that is cut"),
    pytest.param("fleet_user", "Block Moving", id="no account is called so"),
    *(pytest.param("fleet_user", name, id=f"{name} trains") for name in ("root", "toor", "nobody")),
    *(pytest.param("fleet_group", name, id=f"as good as root: {name}") for name in ROOT_LIKE),
    *(
        pytest.param("training_unit", name, id=f"the unit {name}")
        for name in (
            "ssh",
            "canvas-work-weights",
            "canvas-training-",
            "canvas-training-a-gpu",
            "canvas-training-a/../ssh",
            "canvas-training-a b",
            "canvas-training-@",
            "Canvas-training-a",
            "canvas-training-" + "a" * 200,
        )
    ),
    pytest.param("run_config_wandb_name", ["a"], id="a list where a text is meant"),
    pytest.param("run_config_wandb_api_key", {"key": "x"}, id="a secret that is a mapping"),
    pytest.param("weights_token", "two words", id="a secret of two words"),
    pytest.param("preflight_accepted_findings", ["GPU_BUSI"], id="a code that the catalogue does not hold"),
    pytest.param("preflight_accepted_findings", ["VARIABLE_INVALID"], id="a code that leaves nothing to go on with"),
    pytest.param("preflight_accepted_findings", ["SECRET_MISPLACED"], id="a secret in the open, accepted"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_value_that_cannot_be_meant_is_refused(name: str, value: Any) -> None:
    assert codes(**{name: value}) == [("VARIABLE_INVALID", name)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("run_config_save_every", "510", id="a number from the command line"),
        pytest.param("run_config_min_lr", 0, id="a schedule that ends at nothing"),
        pytest.param("run_config_prefer_buffer_before", 0, id="a buffer that no batch prefers"),
        pytest.param("run_config_master_port", 65535, id="the last port"),
        pytest.param("run_config_resume_from", "", id="the role judges a run from random weights"),
        pytest.param("dataset_train", "~/data/train.parquet", id="a path of the controller"),
        pytest.param("conda_env_wheelhouse", "/home/me/my wheels", id="a path of the controller with a space"),
        pytest.param("nvidia_driver_branch", 580, id="a branch without quotes"),
        pytest.param("nvidia_cuda_version", 12.8, id="a version that YAML reads as it is meant"),
        pytest.param("canvas_code_repo", "git@github.com:me/MathCanvas.git", id="a repository over SSH"),
        pytest.param("fleet_address", "fd00::21", id="an address of the newer kind"),
        pytest.param("preflight_accepted_findings", "GPU_BUSY", id="one code without a list"),
        pytest.param("run_config_env", {"TOKENIZERS_PARALLELISM": "false"}, id="a name that only begins like a secret"),
        pytest.param(
            "conda_env_pip_packages", ["torch==2.7.1", "x[y] >= 1; python_version < '3.11'"], id="pip's forms"
        ),
    ],
)
def test_a_value_that_is_right_stands(name: str, value: Any) -> None:
    assert codes(**{name: value}) == []


NUMBERS = {name: option.spec for name, option in OPTIONS.items() if option.kind in ("int", "float")}
NEWEST = {"training_restore_step", "training_merge_step", "training_fetch_step"}  # -1


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_no_count_size_or_time_is_below_nothing(name: str) -> None:
    assert codes(**{name: -1}) == ([] if name in NEWEST else [("VARIABLE_INVALID", name)])


@pytest.mark.parametrize("name", [name for name, spec in NUMBERS.items() if "V(0)" in str(spec["description"])])
def test_a_nothing_that_means_something_stands(name: str) -> None:
    assert codes(**{name: 0}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("run_config_env", {"HF_TOKEN": "canary-4711"}, id="named as one"),
        pytest.param("run_config_extra_flags", {"api_key": "canary-4711"}, id="a flag"),
        pytest.param("weights_endpoint", "https://x/hf_canary4711canary4711canary", id="looks like one"),
        pytest.param("canvas_code_repo", "https://me:canary-4711@git.test/x.git", id="a password in a URL"),
    ],
)
def test_a_secret_in_the_wrong_place_is_told_without_its_text(name: str, value: Any) -> None:
    settings, (found,) = core.resolve(OPTIONS, {name: value})
    assert (found.code, found.variable) == ("SECRET_MISPLACED", name)
    assert "canary" not in str(found) + str(settings)


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        pytest.param(
            {"run_config_lr_scheduler": "cosine", "run_config_lr": 1e-5, "run_config_min_lr": 1e-4},
            "run_config_min_lr",
            id="a cosine that climbs",
        ),
        pytest.param(
            {"run_config_ce_weight": 0, "run_config_mse_weight": 0}, "run_config_ce_weight", id="nothing is learned"
        ),
        pytest.param(
            {"training_peer_port": 29501, "run_config_master_port": 29501}, "training_peer_port", id="one port twice"
        ),
    ],
)
def test_two_variables_that_contradict_each_other(given: dict[str, Any], variable: str) -> None:
    assert codes(**given) == [("VARIABLE_INVALID", variable)]


def test_a_constant_rate_has_no_lowest_one() -> None:
    assert codes(run_config_lr_scheduler="constant", run_config_lr=1e-5, run_config_min_lr=1e-4) == []


def test_every_rule_is_of_a_variable_that_exists() -> None:
    assert set(value_rules.RULES) - set(OPTIONS) == set()


def test_a_broken_variable_is_told_once_and_not_with_all_that_stands_on_it() -> None:
    defaults = {name: f"{{{{ fleet_root }}}}/{name}" for name in ("weights_dir", "canvas_code_dir")}

    def template(raw: Any) -> Any:
        return str(raw).replace("{{ fleet_root }}", "srv")

    found = core.read(OPTIONS, {**defaults, "fleet_root": "/srv"}, {"fleet_root": "srv"}, template)[1]
    assert [one.variable for one in found] == ["fleet_root"]


def test_a_text_that_cannot_be_resolved_is_told_with_its_variable() -> None:
    def template(raw: Any) -> Any:
        raise ValueError("'nope' is undefined")

    (found,) = core.read(OPTIONS, {}, {"weights_dir": "{{ nope }}"}, template)[1]
    assert (found.code, found.variable, found.found) == (
        "VARIABLE_INVALID",
        "weights_dir",
        "weights_dir: 'nope' is undefined",
    )


@pytest.mark.parametrize("variable", ["dataset_train", "dataset_test"])
@pytest.mark.parametrize(
    ("path", "fits"),
    [
        pytest.param("data/train.csv", False, id="a table"),
        pytest.param("https://x/TRAIN.JSONL", False, id="lines of json at a URL"),
        pytest.param("train.parquet.zip", False, id="packed"),
        pytest.param("data/train.parquet", True, id="as it should be"),
        pytest.param("csv/train", True, id="a folder of that name"),
    ],
)
def test_data_in_another_form_is_refused_by_its_name(variable: str, path: str, fits: bool) -> None:
    assert codes(**{variable: path}) == ([] if fits else [("DATASET_NOT_PARQUET", variable)])
