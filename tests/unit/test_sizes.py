"""A file is read in one go: its topic is in its name, and it has few lines."""

from __future__ import annotations

import pytest

from tests.unit.support.places import ROOT


@pytest.mark.parametrize(
    ("folders", "limit"),
    [
        pytest.param(("tests", "molecule"), 400, id="tests"),
        pytest.param(("plugins", "tools"), 380, id="code"),
    ],
)
def test_no_file_is_longer_than_the_limit(folders: tuple[str, ...], limit: int) -> None:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100, "they are looked for in the right place"
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {path: count for path, count in lines.items() if count > limit} == {}
