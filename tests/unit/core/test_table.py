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


NOTE = "the words of a note that has no end "
WIDE = [
    ("host", "gpu", "disk", "note"),
    ("n1", "a" * 20, "b" * 20, NOTE * 2),
    ("n2", "c", "–", ""),
]


@pytest.mark.parametrize(
    ("rows", "options", "lines"),
    [
        pytest.param(WIDE[:1], {"width": 79}, ["host  gpu  disk  note"], id="room enough"),
        pytest.param(
            [("n1", "words " * 9)], {"width": 47}, ["n1  words words words words words words words", "    words words"],
            id="the last cell is wrapped below itself",
        ),
        pytest.param(
            WIDE, {"width": 40, "indent": " "},
            [
                " host  gpu",
                "     disk",
                "     note",
                f" n1    {'a' * 20}",
                f"     {'b' * 20}",
                "     the words of a note that has no end",
                "     the words of a note that has no end",
                " n2    c",
            ],
            id="columns go to further lines, and a line that says nothing is left out",
        ),
        pytest.param(
            [("a", "b", "c", "d" * 22)], {"width": 30, "fold": 2}, ["a  b", f"    c  {'d' * 22}"],
            id="where to fold first",
        ),
        pytest.param([("a", "b", "c", "d")], {"width": 30, "fold": 2}, ["a  b  c  d"], id="nothing to fold"),
        pytest.param(
            [("a" * 10, "b" * 10, "c" * 10)], {"width": 33}, [f"{'a' * 10}  {'b' * 10}", f"    {'c' * 10}"],
            id="the gaps take room too",
        ),
        pytest.param([("n" * 50, "x")], {"width": 20}, ["n" * 15 + "…  x"], id="a cell wider than the page"),
    ],
)  # fmt: skip
def test_a_table_fits_the_page(rows, options, lines):
    assert table.lines(rows, **options) == lines
    assert max(map(len, lines)) <= max(options["width"], 34)
