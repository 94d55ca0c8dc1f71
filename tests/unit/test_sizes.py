"""A test file is read in one go: its topic is in its name, and it has at most 400 lines."""

from __future__ import annotations

from tests.unit.support.places import ROOT

LIMIT = 400


def test_no_test_file_is_longer_than_the_limit() -> None:
    files = [path for folder in ("tests", "molecule") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100, "the tests are looked for in the right place"
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert {path: count for path, count in lines.items() if count > LIMIT} == {}
