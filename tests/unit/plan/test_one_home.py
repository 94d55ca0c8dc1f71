"""One home for each setting: a variable is read by code, and no other variable says the same."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import Any

import pytest
import yaml

from tests.unit.support.places import ROOT

ROLES = ROOT / "roles"
OWNER = {
    name: path.parents[1].name
    for path in ROLES.glob("*/meta/argument_specs.yml")
    for name in yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
}
DEFAULTS: dict[str, Any] = {}
for path in ROLES.glob("*/defaults/main.yml"):
    DEFAULTS.update(yaml.safe_load(path.read_text()))
PREFIX = re.compile(f"(?:{'|'.join(sorted(set(OWNER.values()), key=len, reverse=True))})_")

# What two roles call alike, and what each of the two means.
DIFFERENT = {
    "commit": "of the code; of a data repository",
    "dir": "of the model; of the trainer; of the agent's environment",
    "environment": "while conda and pip build; while data is fetched",
    "group": "of the account; a key of the trainer's registry",
    "name": "of the environment; of the data in dataset_info.py",
    "pip_index_url": "for all roles; for the training environment, which takes the other one by default",
    "python": "a version for the training; the agent's interpreter",
    "repo": "of the code; of the model; of the data",
    "root": "of everything; of conda",
    "source": "of the code; of the data",
    "step": "of the checkpoint that is evaluated, base or all too; of the one that is exported",
    "timestep_shift": "of the training's noise; of the steps in which an answer's picture is drawn",
    "state_dir": "of root's records; of downloads, which belong to the account",
    "weights": "which file an evaluation reads; which file an export takes",
}
# A default that is another variable's value, and why that is not the same setting.
FOLLOWS = {
    "fleet_group": "an account may have another group",
    "nvidia_busy_ignore_below": "programs elsewhere may count as the training's own",
    "run_config_resume_from": "a fresh run may begin with another model",
    "training_run": "hosts with one name form one run",
}


def constants() -> set[str]:
    """Every text that stands alone in the code, so not the names in sentences."""
    trees = (ast.parse(path.read_text()) for path in (ROOT / "plugins").rglob("*.py"))
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_variable_is_read_by_code_or_by_a_task() -> None:
    places = [*ROLES.glob("*/tasks/*.yml"), *ROLES.glob("*/templates/**/*.j2"), *(ROOT / "playbooks").rglob("*.yml")]
    words = {word for path in places for word in re.findall(r"\w+", path.read_text())} | constants()
    # The specs of the supervisor and of an evaluation have names without the prefix.
    bare = {name: PREFIX.sub("", name, count=1) for name, role in OWNER.items() if role in ("training", "evaluation")}
    unread = [name for name in OWNER if not {name, bare.get(name, name)} & words]
    assert unread == []


def test_what_two_roles_call_alike_means_different_things() -> None:
    alike = defaultdict(set)
    for name, role in OWNER.items():
        alike[PREFIX.sub("", name, count=1)].add(role)
    assert {rest for rest, roles in alike.items() if len(roles) > 1} == set(DIFFERENT)


def test_no_default_only_repeats_another_variable() -> None:
    assert {name for name, value in DEFAULTS.items() if re.fullmatch(r"\{\{ \w+ \}\}", str(value))} == set(FOLLOWS)


@pytest.mark.parametrize("name", sorted(OWNER))
def test_a_variable_has_the_name_of_its_role(name: str) -> None:
    assert name.startswith(f"{OWNER[name]}_")
