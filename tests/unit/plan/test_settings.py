"""Settings: every variable typed once, misspelt ones reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.plan import settings as core

from tests.unit.support.places import ROOT

ROLES = ROOT / "roles"
SPEC_FILES = sorted(ROLES.glob("*/meta/argument_specs.yml"))
ROLE_NAMES = [path.parents[1].name for path in SPEC_FILES]
SPECS = {
    "run_config": {
        "argument_specs": {
            "main": {
                "options": {
                    "run_config_total_steps": {"type": "int"},
                    "run_config_lr": {"type": "float"},
                    "run_config_use_flex": {"type": "bool"},
                    "run_config_lr_scheduler": {"type": "str", "choices": ["constant", "cosine"]},
                    "run_config_key": {"type": "str", "no_log": True},
                    "run_config_yaml": {"type": "path"},
                    "run_config_wandb_name": {"type": "str"},
                    "run_config_extra_flags": {"type": "dict"},
                    "run_config_words": {"type": "list", "elements": "str"},
                }
            }
        }
    }
}
OPTIONS = core.options_of(SPECS)


@pytest.mark.parametrize(
    ("name", "value", "typed"),
    [
        pytest.param("run_config_total_steps", "60", 60, id="a number given with -e is a string and becomes an int"),
        pytest.param("run_config_lr", "1e-5", 1e-5, id="a learning rate in YAML without a dot is a string too"),
        pytest.param("run_config_use_flex", "True", True, id="a bool as the guide writes it"),
        pytest.param("run_config_yaml", "/srv/$x.yaml", "/srv/$x.yaml", id="a path of the host is not expanded here"),
    ],
)
def test_a_value_gets_the_type_of_its_spec(name: str, value: object, typed: object) -> None:
    settings, findings = core.resolve(OPTIONS, {name: value})
    assert (settings, findings) == ({name: typed}, [])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        pytest.param("run_config_total_steps", "many", ("'many'", "int"), id="a word where a number is needed"),
        pytest.param(
            "run_config_lr_scheduler", "linear", ("'linear'", "constant, cosine"), id="not one of the choices"
        ),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_would(name: str, value: object, words: tuple[str, str]) -> None:
    _, findings = core.resolve(OPTIONS, {name: value})
    assert [found.code for found in findings] == ["VARIABLE_INVALID"]
    assert words[0] in findings[0].found
    assert words[1] in findings[0].expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("run_config_extra_flags", {1: 1}, "names in quotes", id="a name that is a number"),
        pytest.param("run_config_extra_flags", {"a": [1]}, "one value for each name", id="a list for a flag"),
        pytest.param("run_config_extra_flags", {"a": float("nan")}, "finite", id="nan for a flag"),
        pytest.param("run_config_extra_flags", {"a\ud800": 1}, "UTF-8", id="half a letter in a name"),
        pytest.param("run_config_total_steps", float("inf"), "int", id="no end of steps"),
        pytest.param("run_config_total_steps", 10**400, "64 bits", id="a number beyond 64 bits"),
        pytest.param("run_config_total_steps", 10**5000, "int", id="a number that Python does not print"),
        pytest.param("run_config_lr", "nan", "finite", id="nan by name"),
        pytest.param("run_config_lr", {"a"}, "float", id="a set"),
        pytest.param("run_config_wandb_name", "x\ud800", "UTF-8", id="half a letter"),
        pytest.param("run_config_wandb_name", "x" * 4097, "at most 4096", id="a text of no end"),
        pytest.param("run_config_wandb_name", b"x", "in quotes", id="bytes"),
        pytest.param("run_config_words", ["a", "b\nc"], "one line", id="two lines in a list"),
    ],
)
def test_what_yaml_can_hold_beside_a_value_is_told(name: str, value: object, expected: str) -> None:
    settings, (found,) = core.resolve(OPTIONS, {name: value})
    assert settings == {}, "what is no value is no setting"
    assert (found.code, found.variable) == ("VARIABLE_INVALID", name)
    assert expected in found.expected
    assert len(found.found) < 300
    found.found.encode()


def test_a_secret_is_only_seen_as_its_digest() -> None:
    settings, _ = core.resolve(OPTIONS, {"run_config_key": "canary-4711"})
    assert settings["run_config_key"].startswith("sha256:")
    assert "canary" not in str(settings)
    assert core.resolve(OPTIONS, {"run_config_key": ""})[0] == {"run_config_key": ""}


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir() if (path / "meta").is_dir()))
def test_defaults_and_specs_of_a_role_say_the_same(role: str) -> None:
    spec = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())
    without = {name for name, option in spec.items() if "default" not in option}
    assert {name: spec[name]["default"] for name in spec.keys() - without} == {
        name: default for name, default in defaults.items() if name not in without
    }
    # antsibull-docs refuses an expression where a spec promises a number, a bool or a list.
    assert without == {name for name, default in defaults.items() if "{{" in str(default) and not _text(spec[name])}


def _text(option: Mapping[str, Any]) -> bool:
    return option.get("type", "str") in ("str", "path")


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir() if (path / "meta").is_dir()))
def test_every_default_of_a_role_has_the_type_of_its_spec(role: str) -> None:
    spec = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())
    for name, option in core.options_of({role: spec}).items():
        default = option.spec.get("default")
        if "default" in option.spec and "{{" not in str(default):
            assert core.convert(option, default) == default, name


def test_settings_are_plain_whatever_marks_ansible_put_on_them() -> None:
    class Marked(str):
        __slots__ = ()

    marked = core.plain({Marked("a"): [Marked("b"), 1, True, 0.5, None]})
    assert marked == {"a": ["b", 1, True, 0.5, None]}
    assert [type(one) for one in (*marked, *marked["a"])] == [str, str, int, bool, float, type(None)]
