"""The house stands: floors, arrows, packages. Read from the imports themselves."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools import house


def test_no_arrow_points_upward_or_to_a_neighbour() -> None:
    wrong = {
        pair: [str(one.source) for one in ones] for pair, ones in house.arrows().items() if not house.allowed(*pair)
    }
    assert wrong == {}


def test_no_role_imports_another() -> None:
    both = [pair for pair in house.arrows() if all(name.startswith("roles/") for name in pair)]
    assert both == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert house.circle() == []


def test_every_package_has_a_floor() -> None:
    assert {house.package_of(path) for path in house.files()} - {"."} <= {
        *(name for floor in house.FLOORS for name in floor),
        *(f"roles/{folder.name}" for folder in (house.UTILS / "roles").iterdir() if folder.is_dir()),
    }


def test_nothing_lies_flat() -> None:
    assert [path.name for path in house.UTILS.glob("*.py")] == []


def test_files_that_make_a_package_are_empty() -> None:
    """Ansible's payload builder carries them to the hosts."""
    packages = {(house.UTILS / path).parent for path in house.files()} - {house.UTILS}
    makers = [folder / "__init__.py" for folder in packages]
    assert [str(path) for path in makers if not path.is_file() or path.read_text()] == []


@pytest.mark.parametrize(
    "path", sorted(house.PLUGINS.rglob("*.py")), ids=lambda path: str(path.relative_to(house.PLUGINS))
)
def test_our_own_code_is_imported_by_its_place(path: Path) -> None:
    names = [node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name.startswith("ansible_collections.canvas")] == []


@pytest.mark.parametrize(
    ("source", "target", "may"),
    [
        pytest.param("plan", "roles/weights", True, id="downward"),
        pytest.param("system", "trainer", False, id="upward"),
        pytest.param("roles/weights", "roles/dataset", False, id="a role to a role"),
        pytest.param("peers", "checkpoints", True, id="beside, by name"),
        pytest.param("checkpoints", "peers", False, id="beside, the other way"),
        pytest.param("supervisor", "machine", False, id="neighbours"),
    ],
)
def test_an_arrow_is_judged(source: str, target: str, may: bool) -> None:
    assert house.allowed(source, target) is may


def test_the_page_of_the_house_is_fresh() -> None:
    assert house.PAGE.read_text() == house.page(), "run `make house`"


def test_a_name_that_is_not_used_is_a_word() -> None:
    """`_` is gettext in Ansible: its own pylint, which takes too long for `make test`, refuses it."""
    found = [
        f"{path.relative_to(house.PLUGINS)}:{node.lineno}"
        for path in sorted(house.PLUGINS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "_"
    ]
    assert found == [], "write _unused, or what it is"
