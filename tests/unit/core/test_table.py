import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import table


@pytest.mark.parametrize(
    ("rows", "options", "lines"),
    [
        pytest.param([], {}, [], id="nothing"),
        pytest.param([("a", "long"), ("bcd", "x")], {}, ["a    long", "bcd  x"], id="as wide as the widest"),
        pytest.param([("a", "9"), ("b", "10")], {"right": (1,)}, ["a   9", "b  10"], id="numbers end at one edge"),
        pytest.param([("a", ""), ("", "b")], {"indent": "  "}, ["  a", "     b"], id="empty cells and an indent"),
    ],
)
def test_rows_become_lines(rows, options, lines):
    assert table.lines(rows, **options) == lines
