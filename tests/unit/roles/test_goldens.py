"""Every byte that lands on a host, for the hosts and units of golden_cases (written by tests/goldens.py)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.goldens import FOLDERS
from tests.unit.support.golden_cases import texts
from tests.unit.support.places import FIXTURES

TEXTS = {str(path.relative_to(FIXTURES)): text for path, text in texts()}


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_is_the_reviewed_one(name: str) -> None:
    assert TEXTS[name] == (FIXTURES / name).read_bytes().decode()


def test_no_golden_file_is_left_over() -> None:
    there = {str(path.relative_to(FIXTURES)) for one in FOLDERS for path in (FIXTURES / one).rglob("*.*")}
    assert there == set(TEXTS)


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("run_config/*/*.sh")), ids=lambda path: path.parent.name)
def test_bash_reads_the_script(path: Path) -> None:
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
