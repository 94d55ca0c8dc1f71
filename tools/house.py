"""The house: packages of plugins/module_utils by floor, and the arrows between them, read from the imports themselves.

    python -m tools.house            the page docs/house.md, written anew
    python -m tools.house --check    only compares

A floor may use the floors below it. What else it may use stands in BESIDE.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = ROOT / "plugins"
UTILS = PLUGINS / "module_utils"
PAGE = ROOT / "docs" / "house.md"

FLOORS: tuple[tuple[str, ...], ...] = (  # from the ground up
    ("findings", "core"),
    ("system",),
    ("trainer",),
    ("checkpoints", "peers", "evaluation"),
    ("supervisor", "machine", "machine/fit"),
    ("roles",),
    ("plan",),
    ("work",),
    ("teardown",),
)
BESIDE = {("core", "findings"), ("peers", "checkpoints"), ("evaluation", "checkpoints"), ("machine/fit", "machine")}
HOLDS = {
    "findings": "the catalogue, and a finding as data",
    "core": "errors, progress, topology, text made printable",
    "system": "the only doors to the host: files, programs, HTTP, git, packages, locks",
    "trainer": "all that mirrors upstream: flags, log, failures, checkpoint files, packing, patches",
    "checkpoints": "which save is whole; keep, restore",
    "evaluation": "losses and answers on the test rows, on the host; what it writes there",
    "peers": "the nodes of a run among themselves",
    "supervisor": "the program that runs a training",
    "machine": "facts of a host and what they mean",
    "machine/fit": "memory, disks, verdicts, the nearest that fits",
    "roles": "a package for each role: observe, decide, work or apply",
    "plan": "settings by spec, rules over several settings, the plan and its text",
    "work": "long work: its record, its unit, its entry on the host",
    "teardown": "takes back what the roles left",
}


@dataclass(frozen=True)
class Import:
    """One import of ours: from file to file, both relative to plugins/module_utils."""

    source: Path
    target: Path


def package_of(path: Path) -> str:
    """`roles/weights` for roles/weights/observe.py."""
    return str(path.parent)


def floor_of(package: str) -> int:
    """The floor's number from the ground. Raises KeyError for a package that no floor holds."""
    names = [package, package.split("/")[0]]
    for number, floor in enumerate(FLOORS):
        if names[0] in floor or (names[1] in floor and names[1] == "roles"):
            return number
    raise KeyError(package)


def row_of(package: str) -> str:
    """The row of the table: all roles share one."""
    return "roles" if package.startswith("roles/") else package


def files() -> list[Path]:
    """All sources, relative to plugins/module_utils."""
    return sorted(path.relative_to(UTILS) for path in UTILS.rglob("*.py"))


def imports_of(path: Path) -> Iterator[Import]:
    """Relative imports of a file, those inside functions too."""
    package = path.parts[:-1]
    for node in ast.walk(ast.parse((UTILS / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = Path(*package[: len(package) + 1 - node.level], *(node.module or "").split("."))
            for alias in node.names:
                whole = base / f"{alias.name}.py"
                yield Import(path, whole if (UTILS / whole).is_file() else base.with_suffix(".py"))


def arrows() -> dict[tuple[str, str], list[Import]]:
    """The imports that cross packages, by (from, to)."""
    found: dict[tuple[str, str], list[Import]] = defaultdict(list)
    for path in files():
        for one in imports_of(path):
            pair = (package_of(one.source), package_of(one.target))
            if pair[0] != pair[1]:
                found[pair].append(one)
    return dict(found)


def allowed(source: str, target: str) -> bool:
    """True when a package may import from another."""
    return floor_of(target) < floor_of(source) or (source, target) in BESIDE


def circle() -> list[str]:
    """Files that import each other in a circle, in order; empty when there is none."""
    edges = {str(path): sorted({str(one.target) for one in imports_of(path)}) for path in files()}
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for target in edges.get(name, ()):
            if found := visit(target, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in edges if (found := visit(name, []))), [])


def lines(paths: list[Path]) -> list[int]:
    return [(UTILS / path).read_text().count("\n") for path in paths]


def rounded(count: int) -> str:
    """Lines to the next hundred: the page must not change with every commit."""
    return f"{round(count, -2):,}" if count >= 50 else "< 50"


def table() -> Iterator[str]:
    """The floors from the top, a row for each package."""
    members: dict[str, list[Path]] = defaultdict(list)
    for path in files():
        if path.name != "__init__.py":
            members[package_of(path)].append(path)
    below = defaultdict(set)
    for source, target in arrows():
        below[row_of(source)].add(row_of(target))
    yield "| floor | package | files | lines, about | holds | uses |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for number, floor in reversed(list(enumerate(FLOORS))):
        for package in floor:
            own = [
                path
                for name, paths in members.items()
                if name == package or name.startswith(f"{package}/")
                for path in paths
            ]
            if package == "machine":
                own = members[package]
            uses = ", ".join(f"`{name}`" for name in sorted(below[package] - {package})) or "–"
            yield f"| {number} | `{package}` | {len(own)} | {rounded(sum(lines(own)))} | {HOLDS[package]} | {uses} |"


def summary() -> str:
    sizes = lines([path for path in files() if path.name != "__init__.py"])
    total = sum(path.read_text().count("\n") for path in PLUGINS.rglob("*.py"))
    return (
        f"{len(sizes)} files below `plugins/module_utils`; half of them have at most "
        f"{round(statistics.median(sizes), -1):.0f} lines, the largest about {round(max(sizes), -1)}. "
        f"All of `plugins/`: about {rounded(total)} lines."
    )


def page() -> str:
    head = "# The house\n\n<!-- Made by `make house`; the floors stand in tools/house.py. -->\n"
    text = (
        "A package uses the floors below its own. Beside its own floor it uses only what is named here: "
        + "; ".join(f"`{source}` uses `{target}`" for source, target in sorted(BESIDE))
        + ". A role never imports another role. `tests/unit/test_house.py` reads the imports and holds all of this.\n"
    )
    return "\n".join([head, text, *table(), "", summary(), ""])


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        PAGE.write_text(page())
        sys.stdout.write(page())
        return 0
    if PAGE.read_text() == page():
        return 0
    sys.stderr.write("docs/house.md is stale: run `make house`\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
