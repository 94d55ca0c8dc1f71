"""docs/trust.md names files and tests: each is there, and each of its promises has both."""

from __future__ import annotations

import re

import pytest

from tests.unit.support.places import ROOT

PAGE = (ROOT / "docs/trust.md").read_text()
PLACES = (".", "plugins/module_utils")  # the nodes' files are named within their package
NAMED = sorted(set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", PAGE)))
OURS = ("docs/", "molecule/", "peers/", "playbooks/", "plugins/", "roles/", "tests/")


@pytest.mark.parametrize("name", [name for name in NAMED if name.startswith(OURS)])
def test_what_the_page_names_is_there(name: str) -> None:
    assert any((ROOT / place / name).exists() for place in PLACES)


def test_the_page_names_files_and_tests() -> None:
    assert sum(name.startswith("tests/") for name in NAMED) > 10
    assert sum(name.startswith(("plugins/", "peers/", "roles/")) for name in NAMED) > 10


def test_each_promise_has_a_test() -> None:
    tables = PAGE.split("| promise | kept in | held by |\n| --- | --- | --- |\n")[1:]
    rows = [row.strip("| ").split(" | ") for table in tables for row in table.partition("\n\n")[0].splitlines()]
    assert len(rows) > 15
    assert [row[0] for row in rows if not re.search(r"`(tests|molecule)/", row[-1])] == []
