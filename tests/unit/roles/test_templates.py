"""Templates are text: little logic, every value listed, and one of a user is refused before anything is changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import script
from ansible_collections.canvas.fleet.plugins.plugin_utils.render import ENVIRONMENT, Templates

from tests.unit.roles.run_config.test_observe import seen
from tests.unit.support import run_texts
from tests.unit.support.places import ROOT
from tests.unit.support.run_settings import settings, topology

TEMPLATES = sorted(ROOT.glob("roles/*/templates/*.j2"))
OWN = ROOT / "roles/run_config/templates/train_blockmoving.sh.j2"
README = ROOT / "roles/run_config/README.md"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_at_most_one_line_in_twenty_is_logic(path: Path) -> None:
    """Each line with a statement counts, the ends of blocks too."""
    lines = path.read_text().splitlines()
    assert sum("{%" in line for line in lines) <= 0.05 * len(lines)


def test_the_readme_lists_every_value_and_filter() -> None:
    parts = README.read_text().split("\n## Variables\n")[0].split("### ")
    names = {
        part.split("\n", 1)[0]: re.findall(r"`(\w+)", "".join(re.findall(r"^\|(.*?)\|", part, re.M))) for part in parts
    }
    assert sorted(names["Values"]) == sorted(script.values(settings(), topology()))
    assert sorted(names["Filters"]) == sorted(name for name in ENVIRONMENT.filters if not name.startswith("unit_"))


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = OWN.read_text()
    assert old in text
    path = tmp_path / "mine.sh.j2"
    path.write_text(text.replace(old, new, 1))
    return path


def test_a_template_of_the_user_takes_the_place_of_ours_and_the_plan_says_so(tmp_path: Path) -> None:
    path = changed(tmp_path, "set -euo pipefail", "set -euo pipefail\nulimit -n 65536  # run {{ run }}")
    told = settings(run_config_script_template=str(path))
    plan = run_texts.decide(seen(), told, topology())
    assert "ulimit -n 65536  # run atlas\n" in plan.values["texts"]["script"]
    assert [(one.code, one.severity, one.found) for one in plan.findings] == [
        ("SCRIPT_TEMPLATE_OWN", "note", str(path))
    ]
    assert plan.reasons == ("train_blockmoving.sh has other settings: ulimit -n 65536  # run atlas",)


REFUSED = {
    "a name without a value": ("{{ lr | sh }}", "{{ lrx | sh }}", "line {line}: 'lrx' is undefined"),
    "a condition on a name without a value": ("{% if cuda_home %}", "{% if gpu %}", "line {line}: 'gpu' is undefined"),
    "no such filter": ("{{ lr | sh }}", "{{ lr | upper }}", "line {line}: No filter named 'upper'"),
    "a block that does not end": ("{% endif %}", "", "Unexpected end of template"),
    "a way out of the sandbox": ("{{ run }}", "{{ run.__class__.__mro__ }}", "unsafe"),
    "a form that has no such place": ('"\\nexport {}={}"', '"{2}"', "out of range"),
    "another value of a flag": ("--lr {{ lr | sh }}", "--lr 2e-5", "does not say --lr 1e-5"),
    "a flag left out": ("  --total_steps {{ total_steps | sh }} \\\n", "", "does not say --total_steps 1530"),
    "two flags left out": ("  --lr {{ lr | sh }} \\\n  --lr_scheduler {{ lr_scheduler | sh }} \\\n", "", "and 1 more"),
    "the extra flags left out": (' | each(" \\\\\\n  --{} {}")', " and ''", "does not say --beta2 0.99"),
    "another number of processes": ("{{ nproc_per_node }} \\", "2 \\", "does not say --nproc_per_node=4"),
    "another program": ("train.pretrain_unified_navit", "train.main", "does not say -m train.pretrain_unified_navit"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_a_template_that_does_not_say_what_was_planned(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = changed(tmp_path, old, new)
    changes = {"run_config_optimizer": "adamw", "run_config_extra_flags": {"beta2": 0.99}}
    told = settings(run_config_script_template=str(path), **changes)
    (refused,) = (one for one in run_texts.decide(seen(), told, topology()).findings if one.refuses)
    assert (refused.code, refused.variable) == ("VARIABLE_INVALID", "run_config_script_template")
    line = OWN.read_text().partition(old)[0].count("\n") + 1
    assert words.replace("{line}", str(line)) in refused.found
    assert str(path) in refused.found


@pytest.mark.parametrize("kind", ["no such file", "a folder"])
def test_refuses_a_template_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path if kind == "a folder" else tmp_path / "none.j2"
    with pytest.raises(FleetError) as refused:
        run_texts.texts(settings(run_config_script_template=str(path)), topology())
    assert (refused.value.variable, refused.value.found) == ("run_config_script_template", f"{path}: no such file")


def test_a_relative_path_is_completed_by_who_calls(tmp_path: Path) -> None:
    (tmp_path / "mine.j2").write_text("{{ run }}\n")
    assert Templates(lambda path: str(tmp_path / path))("run_config", "x.j2", {"run": "a\nb"}, "mine.j2") == "a\nb\n"
