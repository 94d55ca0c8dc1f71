"""Calls that Ansible would end with 0 although nothing was done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.core.role_plan import ROLES
from ansible_collections.canvas.fleet.plugins.module_utils.plan.command_line import OLDEST, Command, slips

from tests.unit.support.places import ROOT

GROUPS = {"all": ["a", "b", "m"], "ungrouped": [], "trainers": ["a", "b"], "monitors": ["m"]}
GOOD = Command(("inv",), GROUPS, ["a", "b", "m"], known_tags=("provision", "weights"))


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        pytest.param({"groups": {"all": [], "ungrouped": []}, "chosen": ["localhost"]}, "NO_HOSTS",
                     "no host at all in inv", id="another file or folder than meant"),
        pytest.param({"groups": {"all": []}, "chosen": [], "sources": ()}, "NO_HOSTS", "no host at all in no inventory",
                     id="no -i"),
        pytest.param({"groups": {"all": ["a"], "trainer": ["a"]}, "chosen": ["a"]}, "NO_HOSTS",
                     "1 host in trainer (inv)",
                     id="a group of another name"),
        pytest.param({"groups": {"all": ["a", "b"], "trainers": []}, "chosen": ["a"]}, "NO_HOSTS",
                     "2 hosts in no group (inv)", id="hosts outside of any group"),
        pytest.param({"core": "2.18.19"}, "ANSIBLE_TOO_OLD", "ansible-core 2.18.19", id="an old Ansible"),
        pytest.param({"chosen": ["m"]}, "LIMIT_EMPTY", "of m none is in the group trainers", id="no trainer"),
        pytest.param({"runs": {"a": "one", "b": "two"}}, "RUNS_SEVERAL", "one, two", id="two runs where one is meant"),
        pytest.param({"tags": ["wieghts"]}, "TAG_UNKNOWN", "wieghts", id="a misspelt tag"),
        pytest.param({"skipped_tags": ["provison"]}, "TAG_UNKNOWN", "provison", id="a misspelt tag to be skipped"),
        pytest.param({"tags": ["weights"], "known_tags": ()}, "TAG_UNKNOWN", "weights", id="a playbook without tags"),
    ],
)  # fmt: skip
def test_a_call_that_would_do_nothing_is_told(change: dict[str, Any], code: str, words: str) -> None:
    (found,) = slips(replace(GOOD, **change))
    assert (found.code, found.found) == (code, words)


def test_the_oldest_ansible_is_the_one_that_the_collection_states() -> None:
    stated = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["requires_ansible"]
    assert stated == f">={'.'.join(map(str, OLDEST))}.0"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="all"),
        pytest.param({"core": "2.19.0b4"}, id="the oldest Ansible that does"),
        pytest.param({"core": "3.0.1"}, id="a later Ansible"),
        pytest.param({"chosen": ["b"]}, id="one host of two"),
        pytest.param({"runs": {"a": "one", "b": "one"}}, id="two hosts of one run"),
        pytest.param({"tags": ["weights"]}, id="one role"),
        pytest.param({"tags": ["all"], "known_tags": ()}, id="no tag given, none known"),
        pytest.param({"skipped_tags": ["provision"]}, id="a part left out"),
    ],
)
def test_a_call_that_does_something_goes_on(change: dict[str, Any]) -> None:
    assert [*slips(replace(GOOD, **change))] == []


@pytest.mark.parametrize(("tags", "near"), [(["wieghts"], "weights?"), (["xyz"], "provision, weights")])
def test_the_nearest_tag_is_named_or_else_all(tags: list[str], near: str) -> None:
    (found,) = slips(replace(GOOD, tags=tags))
    assert found.expected == near


# All but the one that is run before there is an inventory.
PLAYBOOKS = sorted({*(ROOT / "playbooks").glob("*.yml")} - {ROOT / "playbooks/init.yml"})


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_every_playbook_looks_at_its_call_first(path: Any) -> None:
    plays = yaml.safe_load(path.read_text())
    assert plays[0]["ansible.builtin.import_playbook"] == "plays/command_line.yml"
    known = {*plays[0].get("vars", {}).get("__command_line_tags", [])}
    used = {tag for play in plays[1:] for tag in play.get("tags", []) if tag != "always"}
    assert known == used | (set(ROLES) if path.stem == "site" else set())


def test_the_hosts_of_one_run_are_named() -> None:
    (found,) = slips(replace(GOOD, runs={"a": "one", "c": "one", "b": "two"}))
    assert (found.variable, found.expected) == ("--limit", "one run, as by --limit a,c")
