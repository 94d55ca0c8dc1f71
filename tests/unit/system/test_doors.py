"""system/ holds the only doors to a host: no other code opens, writes, moves, hashes, starts or fetches."""

import ast

import pytest

from tests.unit.support.places import ROOT

PLUGINS = ROOT / "plugins"
DOORS = PLUGINS / "module_utils/system"
# file: {what it does by itself: why no door does it}
ALLOWED: dict[str, dict[str, str]] = {}
MODULES = {"shutil", "hashlib", "subprocess", "tempfile", "fcntl", "urllib.request", "http.client"}
OF_OS = {
    "open", "fdopen", "rename", "renames", "replace", "remove", "unlink", "link", "symlink", "truncate", "mkfifo",
    "chmod", "fchmod", "lchmod", "chown", "fchown", "lchown", "mkdir", "makedirs", "rmdir", "removedirs", "system",
    "walk", "fwalk", "popen", "posix_spawn", "fork", "execv", "execve", "execvp", "spawnv",
}  # fmt: skip
OF_PATHS = {
    "write_text", "write_bytes", "read_text", "read_bytes", "open", "touch", "chmod", "lchmod", "mkdir", "rmdir",
    "unlink", "symlink_to", "hardlink_to", "link_to",
}  # fmt: skip
# Their open() takes bytes in memory, or an archive that a door has opened.
NO_PATHS = {"files", "folders", "Image", "tarfile"}


def by_hand(source: str) -> set[str]:
    """What this source does without a door."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
            found |= names & (MODULES | {f"os.{name}" for name in OF_OS})
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("open", "__import__"):
            found.add(node.func.id)
        elif isinstance(node, ast.Attribute):
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            if of == "os" and node.attr in OF_OS:
                found.add(f"os.{node.attr}")
            elif node.attr in OF_PATHS and of not in {"os", *NO_PATHS}:
                found.add(f".{node.attr}")
    return found


def sources():
    return sorted(path for path in PLUGINS.rglob("*.py") if DOORS not in path.parents)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PLUGINS)))
def test_nothing_goes_around_the_doors(path):
    assert by_hand(path.read_text()) == set(ALLOWED.get(str(path.relative_to(PLUGINS)), {}))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("open('x')", {"open"}),
        ("with path.open() as stream: pass", {".open"}),
        ("import os\nos.replace('a', 'b')", {"os.replace"}),
        ("import os\nmove = os.rename", {"os.rename"}),
        ("from os import unlink", {"os.unlink"}),
        ("import subprocess", {"subprocess"}),
        ("import urllib.request", {"urllib.request"}),
        ("from urllib import request", {"urllib.request"}),
        ("import hashlib as h", {"hashlib"}),
        ("def later():\n    from shutil import rmtree", {"shutil"}),
        ("Path('x').write_text('y')", {".write_text"}),
        ("place.with_name('x').unlink(missing_ok=True)", {".unlink"}),
        ("from .system import files\nfiles.open_plain('x')", set()),
        ("os.path.join('a', 'b'), os.listdir('a'), text.replace('a', 'b')", set()),
    ],
)
def test_what_goes_around_a_door_is_seen(source, found):
    assert by_hand(source) == found


def test_each_exception_still_stands_and_says_why():
    for name, reasons in ALLOWED.items():
        assert (PLUGINS / name).is_file(), name
        assert all(reasons.values()), name
