"""A variable has one home: what code, templates and pages name is in an argument spec, and none repeats another."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import ROLES
from ansible_collections.canvas.fleet.plugins.module_utils.plan.names import HABITS, RENAMED
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config.script import ORDER
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.flags import KNOWN, OURS
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

from tests.unit.support.places import ROOT

OPTIONS = load_specs().options
OWNERS = tuple(sorted({option.role for option in OPTIONS.values()}, key=len, reverse=True))
NAME = re.compile(rf"(?<![\w./-])(?:{'|'.join(OWNERS)})_[a-z0-9_]*[a-z0-9](?!\.py|[\w/-])")
TRAINING = {
    name[len("training_") :] for name in OPTIONS if name.startswith("training_")
}  # as the supervisor is told them
# Names of the same form that are no variables: roles, modules, lookups, the trainer's flags and the key of its yaml.
PLUGINS = {path.stem for folder in ("modules", "action", "lookup") for path in (ROOT / "plugins" / folder).glob("*.py")}
OTHERS = {*ROLES, *PLUGINS, *TRAINING, *KNOWN, *OURS, "dataset_names", "fleet_built_in", "preflight_plan"}


def unknown(text: str) -> set[str]:
    """Names in a text that begin as a role's variables do, and that no spec has."""
    return {name for name in NAME.findall(text) if name not in OPTIONS and name not in OTHERS}


def strings(path: Path) -> Iterator[str]:
    """Texts in Python that are a name and nothing else."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
            yield node.value


CODE = sorted((ROOT / "plugins").rglob("*.py"))
WORDS = sorted(
    path
    for pattern in ("docs/*.md", "README*.md", "CONTRIBUTING.md", "roles/*/README.md", "inventory/*/README*.md")
    for path in ROOT.glob(pattern)
)


def test_every_name_that_code_reads_is_in_a_spec() -> None:
    known = {*OPTIONS, *OTHERS, *RENAMED, *HABITS}
    wrong = {str(path.relative_to(ROOT)): found for path in CODE if (found := set(strings(path)) - known)}
    assert wrong == {}


def test_every_flag_of_the_trainer_is_a_variable_or_a_path_of_another_role() -> None:
    paths = ["dataset_config_file", "results_dir", "checkpoint_dir", "model_path"]
    assert sorted(name for name in ORDER if f"run_config_{name}" not in OPTIONS) == sorted(paths)


@pytest.mark.parametrize("folder", ["roles", "playbooks", "inventory/example", "inventory/example-fleet"])
def test_every_name_in_yaml_and_templates_is_in_a_spec(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in (".yml", ".j2") and path.is_file()]
    wrong = {str(path.relative_to(ROOT)): found for path in files if (found := unknown(path.read_text()))}
    assert wrong == {}


@pytest.mark.parametrize("page", WORDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_that_a_page_names_is_there(page: Path) -> None:
    code = re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL)
    assert {name for one in code for name in unknown(one)} == set()


def test_no_default_repeats_a_variable_of_another_role() -> None:
    """But for two that say something else of the same folder: what a run starts from, and whose programs are ours."""
    found = {}
    for path in (ROOT / "roles").glob("*/defaults/main.yml"):
        for name, value in (yaml.safe_load(path.read_text()) or {}).items():
            same = re.fullmatch(r"\{\{ (\w+) \}\}", str(value))
            if same and same[1] in OPTIONS and OPTIONS[same[1]].role != OPTIONS[name].role:
                found[name] = same[1]
    assert found == {"run_config_resume_from": "weights_dir", "nvidia_busy_ignore_below": "fleet_root"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`training_topology: x`", {"training_topology"}),
        ("set weights_dirs.", {"weights_dirs"}),
        ("`weights_dir` of canvas.fleet.training_unit, data/dataset_info.py, molecule/nvidia_el", set()),
    ],
)
def test_a_name_that_no_spec_has_is_seen(text: str, found: set[str]) -> None:
    assert unknown(text) == found
